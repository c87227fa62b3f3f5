"""What aiconfigurator itself predicts for the aggregated rows of `silicon_fit.csv.gz`: TTFT and TPOT beside the measured ones.

Run where the extra ``aic`` is installed, on that file: ``python -m benchmarks.aic_rows silicon_fit.csv.gz``. It writes
hardware_profiles/evidence/aic_predictions.csv and prints coverage and errors. How each row is read is told in docs/aiconfigurator.md.
"""

import argparse
import csv
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from simulator.calibration.aic import MODES, Layout, OperatorTables, Precision, require_aic
from simulator.calibration.silicon_layout import worker_layout

OUT = Path("hardware_profiles/evidence/aic_predictions.csv")
LONGEST_NOTE = 120

ASKED: dict[tuple[str, str], tuple[str, Precision]] = {
    ("deepseek-ai/DeepSeek-R1", "fp8"): ("deepseek-ai/DeepSeek-R1", Precision()),
    ("deepseek-ai/DeepSeek-R1", "fp4"): ("nvidia/DeepSeek-V3.1-NVFP4", Precision()),
    ("deepseek-ai/DeepSeek-V3", "fp8"): ("deepseek-ai/DeepSeek-V3", Precision()),
    ("deepseek-ai/DeepSeek-V3", "fp4"): ("nvidia/DeepSeek-V3.1-NVFP4", Precision()),
    ("nvidia/DeepSeek-R1-NVFP4", "fp4"): ("nvidia/DeepSeek-V3.1-NVFP4", Precision()),
    ("nvidia/DeepSeek-V3.1-NVFP4", "fp4"): ("nvidia/DeepSeek-V3.1-NVFP4", Precision()),
    ("openai/gpt-oss-120b", "fp4"): ("openai/gpt-oss-120b", Precision()),
    ("openai/gpt-oss-120b", "fp8"): ("openai/gpt-oss-120b", Precision()),
    ("zhipuai/GLM-5", "fp8"): ("zai-org/GLM-5-FP8", Precision()),
    ("zhipuai/GLM-5", "fp4"): ("nvidia/GLM-5-NVFP4", Precision()),
    ("moonshotai/Kimi-K2.5", "int4"): ("moonshotai/Kimi-K2.5", Precision()),
    ("moonshotai/Kimi-K2.5", "fp4"): ("nvidia/Kimi-K2.5-NVFP4", Precision()),
    ("MiniMaxAI/MiniMax-M2.5", "fp8"): ("MiniMaxAI/MiniMax-M2.5", Precision()),
    ("MiniMaxAI/MiniMax-M2.5", "fp4"): ("nvidia/MiniMax-M2.5-NVFP4", Precision()),
    ("Qwen/Qwen3.5-397B-A17B", "bf16"): ("Qwen/Qwen3.5-397B-A17B", Precision()),
    ("Qwen/Qwen3.5-397B-A17B", "fp8"): ("Qwen/Qwen3.5-397B-A17B", Precision("fp8_block", "fp8_block")),
    ("Qwen/Qwen3.5-397B-A17B", "fp4"): ("nvidia/Qwen3.5-397B-A17B-NVFP4", Precision()),
    ("Qwen/Qwen3-235B-A22B-FP8", "fp8"): ("Qwen/Qwen3-235B-A22B-FP8", Precision()),
    ("Qwen/Qwen3-32B", "fp8"): ("Qwen/Qwen3-32B", Precision("fp8")),
    ("Qwen/Qwen3-32B", "bf16"): ("Qwen/Qwen3-32B", Precision()),
    ("meta-llama/Llama-3.1-70B", "fp8"): ("nvidia/Llama-3.1-70B-Instruct-FP8", Precision()),
    ("meta-llama/Llama-3.1-70B", "fp4"): ("meta-llama/Meta-Llama-3.1-70B", Precision("nvfp4", "", "fp8")),
    ("meta-llama/Llama-3.1-8B-Instruct", "bf16"): ("meta-llama/Meta-Llama-3.1-8B", Precision()),
    ("meta-llama/Llama-3.1-8B-Instruct", "fp8"): ("meta-llama/Meta-Llama-3.1-8B", Precision("fp8_block")),
    ("nvidia/Llama-3.1-8B-Instruct-FP8", "fp8"): ("meta-llama/Meta-Llama-3.1-8B", Precision("fp8", "", "fp8")),
}  # fmt: skip
"""The row's model and precision -> the checkpoint that aiconfigurator knows, and modes that this checkpoint's config does not say."""

DENSE = ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-70B", "nvidia/Llama-3.1-70B-Instruct-FP8", "Qwen/Qwen3-32B")

GPT_OSS = "openai/gpt-oss-120b"
"""Its rows say nvfp4; the checkpoint is MXFP4, which runs with FP8 activations on Blackwell and with BF16 ones before."""

BLACKWELL = ("b200_sxm", "b300_sxm", "gb200", "gb300")


class Prediction(NamedTuple):
    """A row of the file that is written; times are empty where there is no prediction."""

    id: str
    ttft_ms: str
    tpot_ms: str
    backend_version: str
    tables: str
    checkpoint: str
    modes: str
    layout: str
    batch: str
    note: str


def main() -> None:
    """Predict every aggregated row, write the file, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("silicon", type=Path, help="silicon_fit.csv.gz")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--rows-first", action="store_true", help="try the row's own quantisation modes before the checkpoint's")
    parsed = parser.parse_args()
    require_aic()
    rows = pd.read_csv(parsed.silicon)
    rows = rows[rows["mode"] == "agg"]
    found = [predict(row, parsed.rows_first) for row in rows.itertuples()]
    with parsed.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Prediction._fields)
        writer.writerows(found)
    print(summary(rows, found))


def predict(row: Any, rows_first: bool = False) -> Prediction:
    """One row, or why it has none."""
    asked = ASKED.get((row.model_path, word(row.precision) or "bf16"))
    read = worker_layout(row.tp_size, row.attention_dp_size, row.moe_tp_size, row.moe_ep_size)
    if asked is None or read is None or read.gpus > 8:
        note = (
            "unknown checkpoint"
            if asked is None
            else "contradictory layout"
            if read is None
            else "a disaggregated run's GPUs as one layout"
        )
        return Prediction(row.id, "", "", "", "", asked[0] if asked else "", "", "", "", note)
    checkpoint, modes = asked
    dense = checkpoint in DENSE
    layout = Layout(read.tp, read.dp, 1 if dense else read.gpus // read.ep, 1 if dense else read.ep)
    batch = max(1, math.ceil(concurrency(row) / read.dp))
    notes = []
    for precision, mode in trials(row, checkpoint, modes, rows_first):
        try:
            tables = tables_of(row.system, checkpoint, row.backend, layout, precision, mode)
            ttft, tpot, overflow = tables.served_ms(int(row.isl), int(row.osl), batch)
        except Exception as error:  # the SDK raises whatever the missing table meets
            notes.append(f"{mode}: {type(error).__name__}: {error}"[:LONGEST_NOTE].replace("\n", " "))
            continue
        note = "KV cache too small for the batch: the queue is not modelled" if overflow else ""
        used = f"{tables.modes['gemm']}/{tables.modes['moe']}/{tables.modes['kvcache']}"
        return Prediction(
            row.id, f"{ttft:.2f}", f"{tpot:.3f}", tables.version, mode.lower(), checkpoint, used, str(layout), str(batch), note
        )
    return Prediction(row.id, "", "", "", "", checkpoint, "", str(layout), str(batch), notes[-1])


def trials(row: Any, checkpoint: str, modes: Precision, rows_first: bool) -> list[tuple[Precision, str]]:
    """What is tried in turn: the checkpoint's quantisation modes, the row's, both on measured tables; then with estimates in their gaps."""
    own = Precision(word(row.gemm_quant_mode), "" if checkpoint in DENSE else word(row.moe_quant_mode), modes.kv)
    if checkpoint == GPT_OSS:
        own = Precision("", "w4a8_mxfp4_mxfp8" if row.system in BLACKWELL else "")
    first, second = (own, modes) if rows_first else (modes, own)
    return list(dict.fromkeys([(first, MODES[0]), (second, MODES[0]), (first, MODES[1])]))


def word(cell: Any) -> str:
    """A cell's word, empty where the file has none."""
    return cell if isinstance(cell, str) else ""


def concurrency(row: Any) -> int:
    """Calls in flight: the source string's, else ``batch_size`` (per group of attention-DP in those rows)."""
    said = re.search(r"silicon_concurrency=(\d+)", row.silicon_data_source)
    return int(said[1]) if said else int(row.batch_size)


@cache
def tables_of(system: str, checkpoint: str, engine: str, layout: Layout, modes: Precision, mode: str) -> OperatorTables:
    """Opened once for all rows of a set-up."""
    return OperatorTables(system, checkpoint, engine, layout, modes, mode)


def summary(rows: pd.DataFrame, found: list[Prediction]) -> str:
    """Coverage and median absolute errors by engine and system, over all rows predicted, whatever they hide."""
    table = rows.reset_index(drop=True).join(pd.DataFrame(found).drop(columns=["id", "backend_version"]))
    done = table[table["tpot_ms"] != ""].copy()
    for name in ("ttft", "tpot"):
        done[f"{name} %"] = 100 * (done[f"{name}_ms"].astype(float) / done[f"silicon_{name}_ms"] - 1).abs()
    errors = done.groupby(["backend", "system"])[["tpot %", "ttft %"]].median().round(1)
    counts = done.groupby(["backend", "system"]).size().rename("rows")
    missing = Counter(row.note[:60] for row in found if not row.tpot_ms)
    tables = dict(Counter(row.tables for row in found if row.tables))
    lines = [f"{len(done)} of {len(rows)} rows predicted ({tables})", str(errors.join(counts)), "not predicted:"]
    return "\n".join([*lines, *(f"{count:5d}  {note}" for note, count in missing.most_common())])


if __name__ == "__main__":
    main()
