"""Deployments whose law came from operator tables, played on measured rows of their layout, beside what aiconfigurator itself says of them.

``python -m benchmarks.aic_laws`` prints two tables: median absolute and signed errors of TPOT and TTFT; and DeepSeek V4 Pro on HGX H200 row
by row, by the law of the comparison and the derived one (or those named behind ``--h200``), and by the derived one with what served engines
take over their operators. No row had a part in the fits, but for the two without drafts in what engines take.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from simulator.calibration.evidence import Row, shipped_rows
from simulator.calibration.fit_served import trials_of
from simulator.calibration.load import compiled_load, load_key
from simulator.calibration.predict import Prediction, play_row
from simulator.calibration.serving import Serving, serve, serving_key
from simulator.capacity.context import context_limit
from simulator.capacity.fleet import engine_pools
from simulator.catalog import folder
from simulator.hardware.load import load_deployment, load_model, load_system

DEPLOYMENTS = {
    "hgx_h200_gpt_oss_120b_tp1_vllm": ("fp4", "mxfp4"),
    "hgx_h200_gpt_oss_120b_tp8_vllm": ("fp4", "mxfp4"),
    "hgx_h200_deepseek_r1_tp8_trtllm": ("fp8",),
}
"""Shipped deployments, and how the rows call their weights."""


H200 = ("hgx_h200_v4pro_20tps_sglang", "hgx_h200_deepseek_v4_pro_tp8_sglang")
H200_ROWS = "sglang_dsv4_h200_pro_fp4_"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--h200", nargs="+", default=H200, help="deployments of DeepSeek V4 Pro on HGX H200, by name or path")
    laws = parser.parse_args().h200
    _all_rows()
    _h200_rows(laws)


def _h200_rows(laws: Sequence[str]) -> None:
    print("\nDeepSeek V4 Pro on HGX H200: ms per token, and tokens/s per GPU; measured, then by", ", ".join(laws), "and as validated")
    named = [_serving(law).deployment.pools[0].law for law in laws]
    for trial in trials_of(row for row in shipped_rows() if row.id.startswith(H200_ROWS)):
        row, serving = trial.row, serve(serving_key(trial.row))
        found = []
        for law in (*named, serving.deployment.pools[0].law):
            deployment = replace(serving.deployment, pools=tuple(replace(pool, law=law) for pool in serving.deployment.pools))
            found.append(trial.played(deployment, serving.request_s))
        tpot, rate = ("  ".join(f"{getattr(p, key):7.2f}" for p in (row, *found)) for key in ("tpot_ms", "tok_s_gpu"))
        print(f"{row.concurrency:5} users, {row.drafts} drafts  {tpot}   {rate}")


def _all_rows() -> None:
    theirs = _predictions()
    print(f"{'deployment':34} {'rows':>4}  {'TPOT':>13} {'TTFT':>13}  {'its TPOT':>13} {'its TTFT':>13}")
    for name, weights in DEPLOYMENTS.items():
        serving = _serving(name)
        rows = [row for row in shipped_rows() if _served_so(row, serving, weights)]
        played = [_errors(row, _play(row, serving)) for row in rows]
        said = [_errors(row, theirs[row.id]) for row in rows if row.id in theirs]
        shown = [_told([error[place] for error in errors]) for errors in (played, said) for place in (0, 1)]
        print(f"{name:34} {len(rows):4}  {shown[0]:>13} {shown[1]:>13}  {shown[2]:>13} {shown[3]:>13}")


def _predictions() -> dict[str, tuple[float, float]]:
    with (folder("evidence") / "aic_predictions.csv").open(newline="", encoding="utf-8") as file:
        return {row["id"]: (float(row["tpot_ms"]), float(row["ttft_ms"])) for row in csv.DictReader(file) if row["tpot_ms"]}


def _serving(name: str) -> Serving:
    deployment = load_deployment(Path(name) if name.endswith(".yaml") else name)
    system, model = load_system(deployment.system), load_model(deployment.model)
    return Serving(system, model, deployment, engine_pools(system, model, deployment), request_s=0.0)


def _served_so(row: Row, serving: Serving, weights: tuple[str, ...]) -> bool:
    """Whether a row was measured on this system, model, engine and layout, with experts cut as its tables have them."""
    deployment = serving.deployment
    asked = (deployment.system, deployment.model, deployment.engine, deployment.gpus, 1, "agg", 0)
    return (row.system, row.model, row.engine, row.tp, row.dp, row.mode, row.drafts) == asked and row.ep <= 1 and row.weights in weights


def _play(row: Row, serving: Serving) -> tuple[float, float]:
    found = _played(row, serving)
    return found.tpot_ms, found.ttft_ms


def _played(row: Row, serving: Serving) -> Prediction:
    limit, _ = context_limit(serving.deployment)
    return play_row(row, serving, compiled_load(load_key(row, serving.deployment), limit, 1), 1)


def _errors(row: Row, said: tuple[float, float]) -> tuple[float, float]:
    return said[0] / row.tpot_ms - 1, said[1] / row.ttft_ms - 1


def _told(errors: Sequence[float]) -> str:
    return f"{100 * median(map(abs, errors)):.1f} % ({100 * median(errors):+.0f})" if errors else "-"


if __name__ == "__main__":
    main()
