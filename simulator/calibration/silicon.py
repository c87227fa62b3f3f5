"""The columns of aiconfigurator's `silicon_fit.csv.gz`, and the rules by which its rows are cleaned before anything is fitted or compared.

That file gathers several dumps of one benchmark (InferenceX) and runs of the tool's authors, so it repeats runs, mixes in unmarked runs
with drafts, and writes some layouts as products. Every rule here is told, with its evidence, in hardware_profiles/evidence/README.md.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from simulator.calibration.evidence import DEFAULTS, Row, open_text, with_split
from simulator.calibration.silicon_layout import Layout, decode_worker, prefill_pool, worker_layout
from simulator.errors import Mistake, UserError

MARKS = ("silicon_data_source", "silicon_ttft_ms", "silicon_tpot_ms", "model_path", "backend")
"""Columns by which the file is known."""

SHARDS = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
AGGREGATED = (
    "id", "silicon_data_source", "backend", "backend_version", "model_path", "system", "precision", "mode", "isl", "osl", *SHARDS,
    "silicon_ttft_ms", "silicon_tpot_ms",
)  # fmt: skip
DISAGGREGATED = tuple(f"{role}_{key}" for role in ("prefill", "decode") for key in (*SHARDS, "num_workers"))
"""Columns that are read, the second ones where some row is disaggregated."""

SYSTEMS = {
    "h100_sxm": "hgx_h100", "h200_sxm": "hgx_h200", "b200_sxm": "hgx_b200", "b300_sxm": "hgx_b300", "gb200": "gb200_nvl72",
    "gb300": "gb300_nvl72",
}  # fmt: skip
MODELS = {
    "deepseek-ai/DeepSeek-R1": "deepseek_r1",
    "deepseek-ai/DeepSeek-V3": "deepseek_r1",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek_r1",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek_r1",
    "openai/gpt-oss-120b": "gpt_oss_120b",
    "meta-llama/Llama-3.1-70B": "llama_3_1_70b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama_3_1_8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama_3_1_8b",
    "Qwen/Qwen3-32B": "qwen3_32b",
    "nvidia/Qwen3-32B-NVFP4": "qwen3_32b",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3_235b_a22b",
    "Qwen/Qwen3.5-397B-A17B": "qwen3_5_397b_a17b",
    "moonshotai/Kimi-K2.5": "kimi_k2_5",
    "zhipuai/GLM-5": "glm_5",
    "MiniMaxAI/MiniMax-M2.5": "minimax_m2_5",
}
"""Their names -> ours; DeepSeek V3, V3.1 and R1 are one architecture with the same sizes, and dumps name the same run either way."""

DATED = re.compile(r"db-dump|\d{4}-\d\d-\d\d\.csv|.*-gap-analysis\.csv")
"""Dumps of the benchmark; other names are files of the tool's authors."""

WITH_DRAFTS = ("deepseek_r1", "qwen3_5_397b_a17b")
"""Models that the benchmark ran both with and without drafts in the months of the dumps."""

APART = 0.9
"""The same of the other dumps, which do not tell: assumed. With lengths all alike clients would stay in step, and their measured TTFT shows
no such bursts (fit rows of TensorRT-LLM and vLLM: median error 0.21 and 0.23 with clients drifting apart, 0.40 and 0.64 in step)."""

DRAWN_LENGTHS = 0.8
"""The benchmark's client draws lengths evenly from 0.8 to 1 times the nominal ones."""

CONDITION = ["system", "model", "engine", "weights", "mode", "isl", "osl", "gpus", "tp", "dp", "ep", "prefill", "concurrency"]
CURVE = CONDITION[:-1]
LOAD = ["isl", "osl", "concurrency"]
FAMILY = ["system", "model", "engine", "engine_version", "weights", "dump"]

SAME_TPOT, SAME_TTFT = 0.01, 0.05
"""Two rows of one condition this near in both are one run told twice (dumps round and date it differently)."""

LOW_TWIN = 0.88
"""A row below this share of the slowest row of its condition has drafts or other software."""

LOW_PEER = 0.67
"""A row below this share of the median over all layouts and engines under its load has drafts."""

LOW_WIDE = 0.75
"""A row below this share of one on at least as many GPUs (same engine, version and load) has drafts."""

FALLEN = 0.85
"""A TPOT below this share of one at lower concurrency on its own curve does not belong to that curve."""

FAR_TWIN = 1.25
"""A row this factor away from the median of three or more rows of its condition is a broken run."""


def is_silicon(header: list[str]) -> bool:
    """Whether a CSV file with these columns is of this kind."""
    return all(mark in header for mark in MARKS)


def read_silicon(path: Path) -> tuple[tuple[Row, ...], pd.DataFrame]:
    """The kept rows of a file in these columns, and those dropped, each with its ``reason``.

    Raises
    ------
    UserError
        When a column is missing, or lengths and times are no numbers above 0.
    """
    try:
        frame = pd.read_csv(open_text(path))
    except (OSError, ValueError) as error:
        raise UserError(Mistake(str(path), "", "a file that cannot be read", "a CSV file", str(error))) from error
    if mistakes := [*_missing(str(path), frame), *_no_numbers(str(path), frame)]:
        raise UserError(mistakes)
    kept, dropped = clean_silicon(frame)
    return silicon_rows(kept), dropped


def _missing(file: str, frame: pd.DataFrame) -> list[Mistake]:
    needed = [*AGGREGATED, *(DISAGGREGATED if "mode" in frame and (frame["mode"] == "disagg").any() else ())]
    return [Mistake(file, key, "no such column", line=1) for key in needed if key not in frame]


def _no_numbers(file: str, frame: pd.DataFrame) -> list[Mistake]:
    found = []
    for key in ("isl", "osl", "silicon_ttft_ms", "silicon_tpot_ms"):
        values = pd.to_numeric(frame[key], errors="coerce") if key in frame else pd.Series(dtype=float)
        found += [
            Mistake(file, key, repr(frame[key][index]), "a number above 0", line=number + 2)
            for number, index in enumerate(values.index)
            if not values[index] > 0
        ]
    return found


def silicon_rows(kept: pd.DataFrame) -> tuple[Row, ...]:
    """Cleaned rows as evidence."""
    return tuple(map(_row, _records(kept)))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in frame.to_dict("records")]


def _row(cells: dict[str, Any]) -> Row:
    words = ("id", "system", "model", "weights", "engine", "engine_version", "mode", "prefill", "date")
    counts = ("isl", "osl", "concurrency", "gpus", "tp", "dp", "ep")
    known = {key: str(cells[key]) for key in words} | {key: int(cells[key]) for key in counts}
    source = f"aiconfigurator 095f58a silicon_fit, {cells['dump']}"
    ratio = DRAWN_LENGTHS if DATED.match(str(cells["dump"])) else APART
    given = {
        **DEFAULTS,
        **known,
        "length_ratio": ratio,
        "ttft_ms": float(cells["ttft_ms"]),
        "tpot_ms": float(cells["tpot_ms"]),
        "source": source,
    }
    return with_split(Row(**given))


def clean_silicon(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that can be trusted, in our columns, and the others with the reason.

    Rules, in this order; each looks at what the ones before it kept.

    1. *layout*: GPUs and layout from the parallel columns (`silicon_layout.py`); contradictory ones go.
    2. *disaggregated*: an ``agg`` row on more than 8 GPUs is a whole disaggregated run with its pools left out.
    3. *concurrency*: the ``silicon_concurrency=`` of the source string (``batch_size`` is per GPU in some rows); without it the row goes.
    4. *work in progress*: runs that the benchmark marks ``wip=True``.
    5. *broken run*: far from the median of three or more rows of its condition.
    6. *drafts*: unmarked speculative decoding, judged only of models that were run with it. A row well below another of its condition
       taints its family (system, model, engine, version, weights, dump); one well below a row on as many or more GPUs taints its layout in
       that version; one far below the median of all layouts and engines under its load goes alone.
    7. *duplicate*: one run told twice, or an older run of the same version under the same condition.
    8. *fallen*: TPOT well below one at lower concurrency on the same curve.
    """
    table = _columns(frame)
    table["reason"] = ""
    for reason, rule in RULES:
        alive = table["reason"] == ""
        bad = rule(table[alive])
        table.loc[bad[bad].index, "reason"] = reason
    kept = table[table["reason"] == ""].drop(columns="reason")
    whole = ["concurrency", "gpus", "tp", "dp", "ep"]
    return kept.astype(dict.fromkeys(whole, int)), table[table["reason"] != ""]


def _columns(frame: pd.DataFrame) -> pd.DataFrame:
    source = frame["silicon_data_source"].astype(str)
    cells = _records(frame)
    layout = [_layout(row) for row in cells]
    prefill = [prefill_pool(row) if row["mode"] == "disagg" else "" for row in cells]
    return pd.DataFrame(
        {
            "id": frame["id"],
            "system": frame["system"].map(SYSTEMS).fillna(frame["system"]),
            "model": frame["model_path"].map(MODELS).fillna(frame["model_path"]),
            "weights": frame["precision"].fillna("bf16"),
            "engine": frame["backend"],
            "engine_version": frame["backend_version"].fillna(""),
            "mode": frame["mode"],
            "isl": frame["isl"],
            "osl": frame["osl"],
            "concurrency": source.str.extract(r"silicon_concurrency=(\d+)")[0].astype(float),
            "gpus": [found.gpus if found else 0 for found in layout],
            "tp": [found.tp if found else 0 for found in layout],
            "dp": [found.dp if found else 0 for found in layout],
            "ep": [found.ep if found else 0 for found in layout],
            "prefill": prefill,
            "ttft_ms": frame["silicon_ttft_ms"],
            "tpot_ms": frame["silicon_tpot_ms"],
            "date": source.str.extract(r"measured=(\d{4}-\d\d-\d\d)")[0].fillna(""),
            "wip": source.str.contains("wip=True"),
            "dump": source.map(_dump),
        }
    )


def _layout(row: Mapping[str, Any]) -> Layout | None:
    if row["mode"] == "disagg":
        return decode_worker(row)
    return worker_layout(row["tp_size"], row["attention_dp_size"], row["moe_tp_size"], row["moe_ep_size"])


def _dump(source: str) -> str:
    """Which gathering of runs a row comes from: ``db-dump/2026-04-27``, a dated CSV, or a file of the tool's authors."""
    head = source.split(";")[0].strip()
    name = head.removeprefix("source_file=")
    return name.rsplit("/", 1)[-1] if head.startswith("source_file=/") else name


def _no_layout(table: pd.DataFrame) -> pd.Series:
    return table["gpus"] == 0


def _whole_run(table: pd.DataFrame) -> pd.Series:
    return (table["mode"] == "agg") & (table["gpus"] > 8)


def _no_concurrency(table: pd.DataFrame) -> pd.Series:
    return table["concurrency"].isna()


def _in_progress(table: pd.DataFrame) -> pd.Series:
    return table["wip"]


def _broken(table: pd.DataFrame) -> pd.Series:
    group = table.groupby(CONDITION, dropna=False)["tpot_ms"]
    ratio = table["tpot_ms"] / group.transform("median")
    return (group.transform("size") >= 3) & ~table["model"].isin(WITH_DRAFTS) & ((ratio > FAR_TWIN) | (ratio < 1 / FAR_TWIN))


def _drafts(table: pd.DataFrame) -> pd.Series:
    """Rows with drafts, judged among aggregated rows of models that were run with them."""
    judged = table[(table["mode"] == "agg") & table["model"].isin(WITH_DRAFTS)]
    top = judged.groupby(CONDITION, dropna=False)["tpot_ms"].transform("max")
    bad = _tainted(judged, judged["tpot_ms"] < LOW_TWIN * top, FAMILY)
    left = judged[~bad].sort_values("gpus", ascending=False, kind="stable")
    wider = left.groupby([*FAMILY[:-1], *LOAD], dropna=False)["tpot_ms"].cummax()
    bad |= _tainted(left, left["tpot_ms"] < LOW_WIDE * wider, [*FAMILY[:-1], "gpus", "tp", "dp", "ep"]).reindex(bad.index, fill_value=False)
    left = judged[~bad]
    usual = left.groupby(["system", "model", "weights", *LOAD])["tpot_ms"].transform("median")
    bad |= (left["tpot_ms"] < LOW_PEER * usual).reindex(bad.index, fill_value=False)
    return bad.reindex(table.index, fill_value=False)


def _tainted(table: pd.DataFrame, low: pd.Series, keys: list[str]) -> pd.Series:
    """All rows that share the keys with a low one."""
    return low.groupby([table[key] for key in keys], dropna=False).transform("max").astype(bool)


def _duplicate(table: pd.DataFrame) -> pd.Series:
    """All rows of a run but one: the newest of those with a version."""
    order = table.assign(unversioned=table["engine_version"] == "").sort_values(
        ["unversioned", "date", "dump", "id"], ascending=[True, False, False, True], kind="stable"
    )
    bad = pd.Series(False, index=table.index)
    for _, group in order.groupby(CONDITION, dropna=False, sort=False):
        kept: list[tuple[str, float, float]] = []
        for index, version, tpot, ttft in zip(group.index, group["engine_version"], group["tpot_ms"], group["ttft_ms"], strict=True):
            if any(_same_run((version, tpot, ttft), other) for other in kept):
                bad[index] = True
            else:
                kept.append((version, tpot, ttft))
    return bad


def _same_run(a: tuple[str, float, float], b: tuple[str, float, float]) -> bool:
    """Whether two rows of a condition are one run, or two of the same version, of which the older says nothing new."""
    (version, tpot, ttft), (other, tpot_b, ttft_b) = a, b
    near_ttft = abs(ttft / ttft_b - 1) < SAME_TTFT or not version
    return version == other or (abs(tpot / tpot_b - 1) < SAME_TPOT and near_ttft)


def _fallen(table: pd.DataFrame) -> pd.Series:
    """Within each curve and version: TPOT does not fall as clients are added."""
    order = table[table["mode"] == "agg"].sort_values("concurrency", kind="stable")
    top = order.groupby([*CURVE, "engine_version"], dropna=False)["tpot_ms"].cummax()
    return (order["tpot_ms"] < FALLEN * top).reindex(table.index, fill_value=False)


RULES = (
    ("layout", _no_layout),
    ("disaggregated run without its pools", _whole_run),
    ("concurrency unknown", _no_concurrency),
    ("work in progress", _in_progress),
    ("broken run", _broken),
    ("drafts not marked", _drafts),
    ("duplicate", _duplicate),
    ("fallen off its curve", _fallen),
)
