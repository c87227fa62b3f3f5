"""Hand-made pools of an operating point for the tests of limits and reports: invented values of every field."""

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.capacity.results import PoolSummary, Series

TERMS = {"launch_floor": 0.1, "weights": 0.1, "kv_read": 0.1, "decode_compute": 0.1, "prefill_compute": 0.1}
OPEN = {"kv_memory": 0.0, "seats": 0.0, "token_budget": 0.0}


def series(level: float = 1.0, bins: int = 60) -> Series:
    time = np.arange(bins) * 10.0
    wave = level * (1 + 0.08 * np.sin(time / 40))
    return Series(time, 30 * wave, 4 * wave, 0.5 * wave, np.full(bins, 0.94), 700 * wave, 900 * wave)


def pool_summary(name: str, role: str, gpus: int, utilisation: float = 0.6, limiter: str = "", **changes: Any) -> PoolSummary:
    """A pool of workers of 4 GPUs; ``terms`` weighs the step's terms, ``blocked`` the reasons for waiting."""
    terms = TERMS | changes.pop("terms", {})
    shares = {key: utilisation * value / sum(terms.values()) for key, value in terms.items()} | {"idle": 1 - utilisation}
    whole = PoolSummary(
        name=name, role=role, gpus=gpus, workers=gpus // 4, ranks=gpus, max_seqs=64, utilisation=utilisation, watts_per_gpu=700.0,
        step_shares=shares, blocked_shares=OPEN | changes.pop("blocked", {}), lockstep_wait_share=0.02, decode_batch_per_rank=30.0,
        kv_used_share=0.5, kv_peak_share=0.7, link_share=0.04, moved_tok_s=40_000.0, host_share=0.0, host_loaded_tok_s=0.0,
        host_stored_blocks=0, prefill_tok_s=50_000.0, decode_tok_s=9_000.0, preemptions=0, limiter=limiter, series=series(),
    )  # fmt: skip
    return replace(whole, **changes)


def pair(prefill: dict[str, Any] | None = None, decode: dict[str, Any] | None = None) -> tuple[PoolSummary, PoolSummary]:
    """24 prefill and 8 decode GPUs: prefill spends its time on prefill compute, decode on reading KV."""
    ahead = {"utilisation": 0.7, "limiter": "prefill_compute", "terms": {"prefill_compute": 4.0}, "decode_batch_per_rank": 0.0}
    after = {"utilisation": 0.8, "limiter": "hbm_bandwidth", "terms": {"kv_read": 2.0}}
    return (
        pool_summary("prefill", "prefill", 24, **ahead | (prefill or {})),
        pool_summary("decode", "decode", 8, **after | (decode or {})),
    )
