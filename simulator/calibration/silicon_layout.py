"""The layout of a row of `silicon_fit.csv.gz`: GPUs and shards, from parallel columns of which some hold products. Inputs are its cells."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """A worker: all its GPUs, attention shards by tensor (``tp``) and data (``dp``) parallelism, GPUs over which experts are spread."""

    gpus: int
    tp: int
    dp: int
    ep: int


def worker_layout(tp: float, dp: float, moe_tp: float, moe_ep: float) -> Layout | None:
    """The layout that four columns mean; None when they contradict each other.

    The writers of the dumps multiplied: TP ``n`` with EP ``n`` appears as ``tp = n*n, moe_tp = n, moe_ep = n`` (TensorRT-LLM, SGLang; with
    attention-DP as ``tp = 1, dp = n*n``) and as ``tp = n, dp = n, moe_ep = n*n`` (vLLM). The same runs stand in another dump with plain
    columns and the same times: 1/64/8/8 beside 1/8/1/8 at 29.7 ms, 16/1/4/4 beside 4/1/1/4 at 12.7 ms, 4/4/1/16 beside 4/1/1/4 at 12.6 ms.
    """
    t, d, mt, me = (max(1, int(x)) if x == x else 1 for x in (tp, dp, moe_tp, moe_ep))
    if mt == me > 1 and t * d == mt * me:
        return Layout(me, 1, me, me) if d > 1 else Layout(me, me, 1, me)
    if t == d > 1 and mt == 1 and me == t * d:
        return Layout(t, t, 1, t)
    if mt * me == 1 or mt * me == t * d:
        return Layout(t * d, t, d, me)
    known_dp = dp == dp and dp > 0
    if not known_dp and mt == 1 and me == t:
        return Layout(t, t, 1, me)
    return None


def decode_worker(row: Mapping[str, Any]) -> Layout | None:
    """The decode worker of a disaggregated row, with all GPUs of both pools; None when the columns contradict each other."""
    decode, prefill = _pool(row, "decode"), _pool(row, "prefill")
    if decode is None or prefill is None:
        return None
    gpus = decode.gpus * workers(row["decode_num_workers"]) + prefill.gpus * workers(row["prefill_num_workers"])
    return decode._replace(gpus=gpus)


def prefill_pool(row: Mapping[str, Any]) -> str:
    """``WORKERSxTP/DP/EP`` of a disaggregated row, ``?`` where the number of workers is not told."""
    found, count = _pool(row, "prefill"), row["prefill_num_workers"]
    return f"{int(count) if count == count else '?'}x{found.tp}/{found.dp}/{found.ep}" if found else ""


def workers(count: float) -> int:
    """Workers of a pool; 1 when not told, so that the GPUs of such a row are a lower bound."""
    return int(count) if count == count and count > 0 else 1


def _pool(row: Mapping[str, Any], role: str) -> Layout | None:
    return worker_layout(*(row[f"{role}_{key}"] for key in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")))
