"""Cleaning `silicon_fit.csv.gz`: each rule on rows made for it, and the shipped figures against the file where it is at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.calibration.evidence import read_rows, rows_text
from simulator.calibration.silicon import RULES, clean_silicon, is_silicon, read_silicon, silicon_rows
from simulator.calibration.silicon_layout import Layout, worker_layout
from simulator.catalog import folder

FILE = Path(__file__).resolve().parents[3] / "shared/data/measurements/aiconfigurator/silicon_fit.csv.gz"
NAN = float("nan")


@pytest.mark.parametrize(
    ("columns", "layout"),
    [
        ((8, 1, 8, 1), Layout(8, 8, 1, 1)),
        ((8, 1, 1, 8), Layout(8, 8, 1, 8)),
        ((8, NAN, 1, 1), Layout(8, 8, 1, 1)),
        ((1, 8, 1, 8), Layout(8, 1, 8, 8)),
        ((64, 1, 8, 8), Layout(8, 8, 1, 8)),
        ((1, 64, 8, 8), Layout(8, 1, 8, 8)),
        ((16, 1, 4, 4), Layout(4, 4, 1, 4)),
        ((4, 1, 2, 2), Layout(2, 2, 1, 2)),
        ((4, 4, 1, 16), Layout(4, 4, 1, 4)),
        ((8, NAN, 2, 4), Layout(8, 8, 1, 4)),
        ((2, 0, 0, 0), Layout(2, 2, 1, 1)),
        ((72, 1, 72, 1), Layout(72, 72, 1, 1)),
        ((1, NAN, 4, 1), None),
        ((2, NAN, 4, 1), None),
    ],
)
def test_layouts(columns: tuple[float, float, float, float], layout: Layout | None) -> None:
    assert worker_layout(*columns) == layout


def rows(*changes: dict[str, Any]) -> pd.DataFrame:
    """Rows like those of the file: R1 in FP8 on 8 B200, 1K/1K, changed as said; ``c`` is the concurrency of the source string."""
    made = []
    for number, change in enumerate(changes):
        c, dump, wip = change.pop("c", 8), change.pop("dump", "2026-04-06.csv"), change.pop("wip", False)
        source = f"source_file={dump}; model=R1; silicon_concurrency={c}; measured=2026-03-01T00:00:00Z; wip={wip}"
        base = {
            "id": f"r{number}", "silicon_data_source": source, "backend": "trtllm", "backend_version": "1.0", "precision": "fp8",
            "model_path": "deepseek-ai/DeepSeek-R1", "system": "b200_sxm", "mode": "agg", "isl": 1024, "osl": 1024, "tp_size": 8.0,
            "attention_dp_size": 1.0, "moe_tp_size": 8.0, "moe_ep_size": 1.0, "silicon_ttft_ms": 200.0, "silicon_tpot_ms": 10.0,
        }  # fmt: skip
        made.append(base | change)
    return pd.DataFrame(made)


def reasons(frame: pd.DataFrame) -> dict[str, str]:
    kept, dropped = clean_silicon(frame)
    assert len(kept) + len(dropped) == len(frame)
    return dict.fromkeys(kept["id"], "") | dict(zip(dropped["id"], dropped["reason"], strict=True))


def test_contradictions_whole_runs_and_unknown_concurrency_go() -> None:
    frame = rows(
        {"tp_size": 1.0, "attention_dp_size": NAN, "moe_tp_size": 4.0},
        {"tp_size": 72.0, "moe_tp_size": 72.0},
        {"silicon_data_source": "source_file=/a/b/c.csv; gtl_job_id=1"},
        {"wip": True},
        {"c": 16},
    )
    assert list(reasons(frame).items()) == [
        ("r4", ""), ("r0", "layout"), ("r1", "disaggregated run without its pools"), ("r2", "concurrency unknown"),
        ("r3", "work in progress"),
    ]  # fmt: skip


def test_a_low_twin_taints_its_family() -> None:
    """Version 2 is 0.6 of version 1 at 8 clients: its row at 64, which has no twin, goes too; version 1 stays."""
    frame = rows({"silicon_tpot_ms": 10.0}, {"backend_version": "2", "silicon_tpot_ms": 6.0},
                 {"backend_version": "2", "silicon_tpot_ms": 14.0, "c": 64}, {"backend_version": "2", "dump": "db", "c": 32})  # fmt: skip
    assert reasons(frame) == {"r0": "", "r1": "drafts not marked", "r2": "drafts not marked", "r3": ""}


def test_a_model_that_never_drafted_is_not_judged_by_its_times() -> None:
    llama = {"model_path": "meta-llama/Llama-3.1-70B"}
    frame = rows(llama | {"silicon_tpot_ms": 10.0}, llama | {"backend_version": "2", "silicon_tpot_ms": 6.0})
    assert reasons(frame) == {"r0": "", "r1": ""}


def test_fewer_gpus_are_not_faster() -> None:
    four = {"tp_size": 4.0, "moe_tp_size": 4.0}
    frame = rows({"silicon_tpot_ms": 10.0}, four | {"silicon_tpot_ms": 7.0}, four | {"silicon_tpot_ms": 30.0, "c": 64})
    assert reasons(frame) == {"r0": "", "r1": "drafts not marked", "r2": "drafts not marked"}
    frame = rows({"silicon_tpot_ms": 7.0}, four | {"silicon_tpot_ms": 10.0})
    assert set(reasons(frame).values()) == {""}


def test_a_run_told_twice_is_kept_once() -> None:
    frame = rows({"backend_version": NAN, "silicon_ttft_ms": 240.0}, {}, {"silicon_tpot_ms": 10.05, "dump": "other.csv"},
                 {"backend_version": "2", "silicon_tpot_ms": 11.0})  # fmt: skip
    assert sorted(reasons(frame).items()) == [("r0", "duplicate"), ("r1", "duplicate"), ("r2", ""), ("r3", "")]


def test_one_of_three_far_off_is_a_broken_run() -> None:
    kimi = {"model_path": "moonshotai/Kimi-K2.5"}
    frame = rows(*(kimi | {"silicon_tpot_ms": tpot, "backend_version": str(n)} for n, tpot in enumerate((16.0, 16.4, 64.0))))
    assert reasons(frame) == {"r0": "", "r1": "", "r2": "broken run"}


def test_a_curve_does_not_fall() -> None:
    kimi = {"model_path": "moonshotai/Kimi-K2.5"}
    frame = rows(*(kimi | {"silicon_tpot_ms": tpot, "c": c} for c, tpot in ((8, 10.0), (16, 20.0), (32, 16.0), (64, 19.0))))
    assert reasons(frame) == {"r0": "", "r1": "", "r3": "", "r2": "fallen off its curve"}


def test_concurrency_is_that_of_the_source_and_a_doubled_layout_is_undone() -> None:
    frame = rows({"c": 256, "batch_size": 4.0, "tp_size": 1.0, "attention_dp_size": 64.0, "moe_ep_size": 8.0})
    (row,) = silicon_rows(clean_silicon(frame)[0])
    assert (row.concurrency, row.gpus, row.tp, row.dp, row.ep) == (256, 8, 1, 8, 8)
    assert (row.system, row.model, row.engine, row.weights) == ("hgx_b200", "deepseek_r1", "trtllm", "fp8")
    assert np.isnan(row.watts)


def test_the_shipped_rows_are_those_of_the_file(tmp_path: Path) -> None:
    if not FILE.is_file():
        pytest.skip("the measurements in ../shared are not at hand")
    found, dropped = read_silicon(FILE)
    assert len(found) + len(dropped) == 2476
    assert set(dropped["reason"]) == {reason for reason, _ in RULES}
    path = tmp_path / "silicon.csv"
    path.write_text(rows_text(found), encoding="utf-8")
    shipped = {row.id: row for row in read_rows(folder("evidence") / "silicon.csv")}
    again = {row.id: row for row in read_rows(path)}
    assert again.keys() == shipped.keys()
    assert all(str(again[key]) == str(shipped[key]) for key in shipped)


def test_the_file_is_known_by_its_columns() -> None:
    assert is_silicon(list(rows({}).columns))
    assert not is_silicon(["id", "system", "tpot_ms"])
