"""Writes docs/validation.md to stdout. Inputs: the pairs of `agentwatt validate --json`, aiconfigurator's predictions of the rows, replays.

usage: validation_page.py PAIRS.json [SHARED] > docs/validation.md

SHARED is the folder of the recorded runs and sessions; without it the replays are left out.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from simulator.calibration.agentic import side_by_side
from simulator.calibration.compare import Pair, Validation, errors, grouped
from simulator.calibration.evidence import shipped_rows
from simulator.calibration.replay import fit_run, mean_errors, measured, read_run, replay_requests, start_terms
from simulator.capacity.scenario_file import load_scenario
from simulator.catalog import folder
from simulator.report.phrases import number
from simulator.report.tables import Sheet
from simulator.report.validation import NAMES, errors_sheet, share, signed, worst_sheet

BENCH = "data/measurements/llmservingsim-vllm/RTXPRO6000"
SESSIONS = "data/trajectories/weka/traces-710.tar.xz"
TEXT = Path(__file__).with_name("validation_text.md")


def markdown(sheet: Sheet) -> str:
    """A sheet as a Markdown table."""
    head = [column.replace("\n", " ") for column in sheet.columns]
    rows = [head, ["---:" if a == "r" else "---" for a in sheet.align], *sheet.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + (f"\n\n{sheet.note}." if sheet.note else "") + "\n"


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSON file that the command wrote."""
    modes = {row.id: row.mode for row in shipped_rows()}
    keys = ("id", "system", "model", "engine", "quantity", "split", "measured", "predicted")
    return [Pair(mode=modes[r["id"]], **{key: r[key] for key in keys}) for r in json.loads(path.read_text(encoding="utf-8"))]


def beside_aiconfigurator(pairs: Sequence[Pair]) -> Sheet:
    """Median absolute errors of both tools on the rows that both predict and nothing here was fitted to."""
    with (folder("evidence") / "aic_predictions.csv").open(newline="", encoding="utf-8") as file:
        theirs = {row["id"]: row for row in csv.DictReader(file)}
    both = [p for p in pairs if p.split == "check" and p.quantity in ("ttft_ms", "tpot_ms") and theirs.get(p.id, {}).get(p.quantity)]

    def cells(quantity: str, chosen: Sequence[Pair]) -> list[str]:
        mine = [p for p in chosen if p.quantity == quantity]
        other = [abs(float(theirs[p.id][quantity]) / p.measured - 1) for p in mine]
        return [str(len(mine)), share(errors(mine).median), share(float(np.median(other)))] if mine else ["0", "–", "–"]

    groups = {("all", ""): both, **grouped(both, "system", "engine")}
    rows = tuple((*words, *cells("tpot_ms", group), *cells("ttft_ms", group)) for words, group in groups.items())
    columns = ("system", "engine", "TPOT rows", "agentwatt", "aiconfigurator", "TTFT rows", "agentwatt", "aiconfigurator")
    return Sheet("", columns, rows, "llrrrrrr")


def v4_rows(pairs: Sequence[Pair]) -> Sheet:
    """Median absolute errors on the V4 rows that nothing was fitted to: SGLang's by what their page tells of them, and GB200's pools."""
    untold = {row.id for row in shipped_rows() if "layout not transcribed" in row.note}
    mine = [p for p in pairs if p.split == "check" and p.id.startswith(("sglang_dsv4", "gb200_v4pro_8k1k"))]
    page = [p for p in mine if p.id.startswith("sglang")]
    groups = {
        "SGLang's page, layout told": [p for p in page if p.id not in untold],
        "SGLang's page, layout assumed": [p for p in page if p.id in untold],
        "SGLang's page, all": page,
        "GB200 pools": [p for p in mine if p not in page],
        "all of them": mine,
    }

    def cells(group: Sequence[Pair], quantity: str) -> tuple[str, str]:
        known = [p for p in group if p.quantity == quantity]
        return (str(len(known)), share(errors(known).median)) if known else ("0", "–")

    rows = tuple((name, *(cell for q in ("tpot_ms", "tok_s_gpu", "ttft_ms") for cell in cells(group, q))) for name, group in groups.items())
    return Sheet("", ("check rows", "TPOT rows", "median", "tok/s/GPU rows", "median", "TTFT rows", "median"), rows, "lrrrrrr")


def replays(shared: Path) -> Iterator[str]:
    """The recorded runs, request by request."""
    known = read_run(shared / BENCH / "Llama-3.1-8B", "rtx_pro_6000", "llama_3_1_8b")
    other = read_run(shared / BENCH / "Qwen3-32B", "rtx_pro_6000", "qwen3_32b")
    terms = fit_run(known, start_terms())
    rows = []
    for name, run in (("Llama-3.1-8B, 1 GPU (fitted)", known), ("Qwen3-32B, TP2 (not fitted)", other)):
        truth, mine = measured(run), replay_requests(run, terms)
        ttft, tpot = mean_errors(mine, truth)
        means = [number(1e3 * float(np.nanmean(values))) for pair in zip(truth, mine, strict=True) for values in pair]
        rows.append((name, means[0], means[1], signed(ttft), means[2], means[3], signed(tpot)))
    columns = ("run", "mean TTFT ms", "replayed", "error", "mean TPOT ms", "replayed", "error")
    yield markdown(Sheet("", columns, tuple(rows), "lrrrrrr"))
    yield "Terms fitted to the first run: " + ", ".join(f"{key} {value:.3g}" for key, value in terms._asdict().items()) + ".\n"


def agentic(shared: Path) -> str:
    """The published agentic replay beside ours."""
    changes = {"workload.source": str(shared / SESSIONS), "deployment": "hgx_b200_v4pro_20tps_host"}
    found = side_by_side("b200x8_v4pro_agentic", load_scenario("weka_b200", changes))
    rows = tuple((f.quantity, f.unit, number(f.published), number(f.simulated), signed(f.simulated / f.published - 1)) for f in found)
    return markdown(Sheet("", ("figure", "unit", "published", "simulated", "difference"), rows, "llrrr"))


def main(arguments: Sequence[str]) -> int:
    """Prints the page."""
    pairs = read_pairs(Path(arguments[0]))
    shared = Path(arguments[1]) if len(arguments) > 1 else None
    silicon = [p for p in pairs if not p.id.startswith(("sglang_dsv4", "gb200_v4pro", "b200_v4pro", "h200_gptoss"))]
    others = [p for p in pairs if p not in set(silicon)]
    found, rest = Validation(0, tuple(silicon), {}), Validation(0, tuple(others), {})
    parts = {
        "ALL": markdown(errors_sheet(found, "", ())),
        "ENGINE": markdown(errors_sheet(found, "", ("engine",))),
        "SYSTEM": markdown(errors_sheet(found, "", ("system",))),
        "MODEL": markdown(errors_sheet(found, "", ("model",))),
        "AIC": markdown(beside_aiconfigurator(silicon)),
        "OTHERS": markdown(errors_sheet(rest, "", ("model", "mode"))),
        "V4": markdown(v4_rows(others)),
        "WORST": markdown(worst_sheet(silicon, 5)),
        "REPLAYS": "\n".join(replays(shared)) if shared else "The recorded runs are not at hand.\n",
        "AGENTIC": agentic(shared) if shared else "The sessions are not at hand.\n",
    }
    text = TEXT.read_text(encoding="utf-8")
    for key, value in parts.items():
        text = text.replace(f"{{{{{key}}}}}\n", value)
    assert "{{" not in text, "a table of the page has no content"
    print(text, end="")
    print(f"{len(pairs)} pairs, {', '.join(NAMES[q] for (q,) in grouped(pairs, 'quantity'))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
