"""`run`, `capacity` and `compare` on a tiny scenario: keys, files, and the same bytes twice."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Command
from tests.unit.hidden_overlay import write_overlay

ANSWER_KEYS = {
    "system", "model", "deployment", "slo", "agents_held", "interval", "gpus", "agents_per_gpu", "agents_per_mw", "accelerator_w_per_gpu",
    "cache_hit", "limiter", "binding", "quality", "seeds",
}  # fmt: skip
RUN_KEYS = {"ttft_s", "output_speed_tok_s", "tpot_s", "output_tok_s", "logical_tok_s", "requests", "preemptions", "energy_j"}


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def compared(command: Command, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Table and folder of one comparison of two deployments."""
    folder = tmp_path_factory.mktemp("compare")
    scenario = folder / "two.yaml"
    text = Path(tiny).read_text(encoding="utf-8").replace("deployment: hgx_h200_v4pro_20tps\n", "")
    cells = "cells:\n  - {deployment: hgx_b200_v4pro_20tps}\n  - {deployment: hgx_h200_v4pro_20tps}\n"
    scenario.write_text(text.replace("name: tiny", "name: two") + cells, encoding="utf-8")
    result = command("compare", str(scenario), "--set", "phase.min_window_s=5", "--out", str(folder / "out"))
    assert result.exit_code == 0, result.stderr
    return result.stdout, folder / "out"


def test_run_prints_a_table_and_nothing_but_the_table_on_stdout(command: Command, tiny: str) -> None:
    result = command("run", tiny)
    assert result.exit_code == 0, result.stderr
    assert "output speed" in result.stdout
    assert "3 on 8" in result.stdout
    assert "wall time" not in result.stdout
    assert "wall time" in result.stderr


def test_run_json_has_the_promised_keys(command: Command, tiny: str) -> None:
    found = json.loads(command("run", tiny, "--json", "--agents", "2").stdout)
    assert set(found) >= RUN_KEYS
    assert set(found["ttft_s"]) == {"mean", "p50", "p90", "p95"}
    assert set(found["output_speed_tok_s"]) == {"p25", "p50", "mean"}
    assert found["agents"] == 2


def test_run_in_its_own_process_gives_the_same_bytes(tiny: str, command: Command) -> None:
    words = [sys.executable, "-m", "simulator.cli.main", "run", tiny, "--json"]
    once = subprocess.run(words, capture_output=True, check=True, cwd=Path(__file__).parents[2])
    assert once.stdout == command("run", tiny, "--json").stdout.encode()
    assert b"wall time" in once.stderr


def test_set_changes_the_scenario(command: Command, tiny: str) -> None:
    found = json.loads(command("run", tiny, "--json", "--set", "workload.osl=20", "-s", "agents=4").stdout)
    assert found["agents"] == 4
    other = json.loads(command("run", tiny, "--json", "--set", "agents=4").stdout)
    assert found["requests"] > other["requests"]


def test_run_writes_its_report_and_rows(command: Command, tiny: str, tmp_path: Path) -> None:
    result = command("run", tiny, "--html", str(tmp_path / "deep" / "run.html"), "--csv", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "NVIDIA HGX H200 serves 3 agents" in (tmp_path / "deep" / "run.html").read_text(encoding="utf-8")
    (row,) = rows_of(tmp_path / "summary.csv")
    assert row["agents"] == "3"
    assert rows_of(tmp_path / "series.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.csv", "deep", "series.csv", "summary.csv"]
    calls = rows_of(tmp_path / "calls.csv")
    assert len(calls) >= int(row["requests"])
    assert {call["agent"] for call in calls} == {"0", "1", "2"}


def test_capacity_answers_in_json_with_every_basis(command: Command, tiny: str, tmp_path: Path) -> None:
    result = command("capacity", tiny, "--json", "--html", str(tmp_path / "c.html"), "--csv", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) >= ANSWER_KEYS
    assert set(found["agents_per_mw"]) == {"accelerator", "tdp", "nameplate", "facility"}
    assert set(found["slo"]) == {"speed_tok_s", "speed_percentile", "ttft_s", "ttft_percentile"}
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "SLO 40 tok/s" in page
    assert "<code>agentwatt capacity" in page
    points = rows_of(tmp_path / "points.csv")
    assert any(int(p["agents"]) == found["agents_held"] and p["held"] == "1" for p in points)


def test_capacity_table_ends_with_what_limits(command: Command, tiny: str) -> None:
    result = command("capacity", tiny)
    assert "Agents per MW, by power basis" in result.stdout
    assert result.stdout.rstrip().endswith(".")


def test_uncertainty_has_tables_files_and_keys(command: Command, tiny: str, tmp_path: Path) -> None:
    result = command("capacity", tiny, "--uncertainty", "2", "--csv", str(tmp_path), "--html", str(tmp_path / "c.html"))
    assert result.exit_code == 0, result.stderr
    for part in ("Intervals over the errors of the profiles", "What to measure next: hgx_h200", "least–most", "estimated"):
        assert part in result.stdout
    assert "with moved fields" in result.stderr
    assert {row["quantity"] for row in rows_of(tmp_path / "uncertainty.csv")} >= {"agents_held", "agents_per_mw_facility"}
    assert any("pue" in row["fields"] for row in rows_of(tmp_path / "tornado.csv"))
    assert "--set uncertainty.samples=2" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_no_draws_are_refused_with_what_is_allowed(command: Command, tiny: str) -> None:
    for question in ("capacity", "compare"):
        result = command(question, tiny, "--uncertainty", "0")
        assert result.exit_code == 2
        assert "uncertainty.samples; found 0; allowed: a whole number >= 2" in result.stderr


def test_pools_have_tables_files_and_a_reason(command: Command, tiny: str, tmp_path: Path) -> None:
    pools = ["--set", "deployment=gb300_nvl72_v4pro_60tps_pd"]
    result = command("run", tiny, *pools, "--csv", str(tmp_path), "--html", str(tmp_path / "r.html"))
    assert result.exit_code == 0, result.stderr
    for part in ("Pools", "Stages of a call", "decode slot wait", "pool binds by its", "imitates trtllm@", "calls in flight"):
        assert part in result.stdout
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "calls.csv",
        "pool_series.csv",
        "pools.csv",
        "series.csv",
        "summary.csv",
    ]
    assert [row["name"] for row in rows_of(tmp_path / "pools.csv")] == ["prefill", "decode"]
    assert {call["pool"] for call in rows_of(tmp_path / "calls.csv")} == {"1"}
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Inside the pools" in page
    assert "Scheduling: imitates trtllm@" in page
    answered = command("capacity", tiny, *pools, "--csv", str(tmp_path / "c"))
    assert "Pools of gb300_nvl72" in answered.stdout
    assert "pool binds by its" in answered.stdout or "the ceiling of the search" in answered.stdout
    assert {row["name"] for row in rows_of(tmp_path / "c" / "pools.csv")} == {"prefill", "decode"}


def test_compare_writes_all_its_files(compared: tuple[str, Path]) -> None:
    table, out = compared
    assert sorted(path.name for path in out.iterdir()) == ["answers.csv", "answers.json", "points.csv", "report.html"]
    document = json.loads((out / "answers.json").read_text(encoding="utf-8"))
    assert [set(answer) >= ANSWER_KEYS for answer in document["answers"]] == [True, True]
    assert {"answers", "sprints", "ratios"} <= set(document)
    assert "hgx_h200 / hgx_b200" in table
    assert "Sprint tests beside the drive cycle" in table


def test_compare_report_titles_systems_and_lists_weak_fields(compared: tuple[str, Path]) -> None:
    page = (compared[1] / "report.html").read_text(encoding="utf-8")
    for part in ("NVIDIA HGX B200", "NVIDIA HGX H200", "estimated or assumed fields, with sources", "--set phase.min_window_s=5"):
        assert part in page


def test_results_name_no_time(compared: tuple[str, Path]) -> None:
    table, _ = compared
    assert "wall time" not in table


def test_a_timeline_is_one_json_document_and_the_same_bytes_twice(command: Command, tiny: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json.gz", "c.json.gz")]
    for file in files:
        assert command("run", tiny, "--timeline", str(file)).exit_code == 0
    assert files[1].read_bytes() == files[2].read_bytes()
    plain = files[0].read_bytes()
    assert gzip.decompress(files[1].read_bytes()) == plain
    records = json.loads(plain)["traceEvents"]
    assert {record["ph"] for record in records} == {"M", "X", "C"}


@pytest.mark.parametrize("asked", [("run", "-n", "2"), ("capacity",), ("compare",)])
def test_what_lies_beyond_a_measured_law_is_told_once(command: Command, tmp_path: Path, asked: tuple[str, ...]) -> None:
    """Calls of 3,050 tokens on a law that was measured up to 2,048."""
    law = {"floor_s": 0.004, "sequence_s": 100e-6, "context_token_s": 0.3e-6, "prefill_token_s": 40e-6, "prefill_pair_s": 10e-9}
    overlay = write_overlay(tmp_path / "overlay.yaml", law, max_context_tokens=16_384)
    scenario = tmp_path / "long.yaml"
    document = {
        "workload": {"kind": "fixed", "isl": 3000, "osl": 50, "concurrency": 1},
        "slo": {"speed_tok_s": 20, "ttft_s": 10},
        "seeds": [1, 2],
        "phase": {"ramp_s": 1, "warmup_s": 1, "min_window_s": 5, "min_trajectories": 0, "min_agent_trajectories": 0, "max_s": 20},
        "search": {"exact_below": 2, "share": 0.5, "ceiling": 2, "scout_s": 0},
        **({"cells": [{"deployment": str(overlay)}] * 2} if asked[0] == "compare" else {"deployment": str(overlay)}),
    }
    scenario.write_text(yaml.safe_dump(document), encoding="utf-8")
    words = ("--out", str(tmp_path / "results")) if asked[0] == "compare" else ()
    result = command(asked[0], str(scenario), *asked[1:], *words, "--json")
    assert result.exit_code == 0, result.output
    said = "beyond what the law was measured at, so extrapolated: 100% of the calls are longer than 2,048 tokens, the longest has 3,050"
    assert result.stderr.count(f"warning: hidden: {said}\n") == 1
    assert said in result.stdout
