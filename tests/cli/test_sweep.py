"""Sweeps played: the same bytes whoever plays them, files, a kill in the middle, and names that mean harm."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import simulator.capacity.sweep as played
from simulator.capacity.sweep_row import answer_point
from tests.cli.conftest import Command
from tests.unit.page_checks import look

ROOT = Path(__file__).parents[2]
AXES = ("--vary", "slo.speed_tok_s=30,60", "--vary", "power.cap_w=300,400,500,900")
"""Eight points, of which two cannot run."""


@pytest.fixture(scope="module")
def whole(command: Command, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep played in one go by one process."""
    out = tmp_path_factory.mktemp("whole")
    result = command("sweep", tiny, *AXES, "--jobs", "1", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    return out


def test_a_row_says_what_capacity_says_of_the_point(command: Command, tiny: str, whole: Path, tmp_path: Path) -> None:
    page, changes = tmp_path / "page.html", ("--set", "slo.speed_tok_s=60", "--set", "power.cap_w=400")
    answer = json.loads(command("capacity", tiny, "--json", *changes, "--html", str(page)).stdout)
    (row,) = pd.read_parquet(whole / "sweep.parquet").query("`slo.speed_tok_s` == 60 and `power.cap_w` == 400").to_dict("records")
    assert row["point"] == 5
    assert f"digest <code>{row['point_key']}</code>" in page.read_text(encoding="utf-8")
    for column in ("system", "agents_held", "cache_hit", "limiter", "sentence", "knee_agents", "monotone", "quality"):
        assert row[column] == answer[column]
    for basis, value in answer["agents_per_mw"].items():
        assert row[f"agents_per_mw_{basis}"] == value


def test_points_that_cannot_run_are_rows_with_the_reason(whole: Path) -> None:
    frame = pd.read_parquet(whole / "sweep.parquet")
    refused = frame[frame["status"] == "cannot run"]
    assert refused["power.cap_w"].tolist() == [900, 900]
    assert refused["reason"].str.contains("from 115 W, hgx_h200's idle draw, to 700 W").all()
    assert refused["agents_held"].isna().all()
    assert frame[frame["status"] == "answered"]["agents_held"].notna().all()


def test_the_file_says_what_made_it(tiny: str, whole: Path) -> None:
    about = {key.decode(): value.decode() for key, value in pq.read_schema(whole / "sweep.parquet").metadata.items()}
    assert about["agentwatt.command"] == f"agentwatt sweep {tiny} {' '.join(AXES)}"
    assert json.loads(about["agentwatt.scenario"])["workload"]["isl"] == 2000
    assert json.loads(about["agentwatt.sweep"])["vary"]["power.cap_w"] == [300, 400, 500, 900]
    assert set(json.loads(about["agentwatt.versions"])) == {"agentwatt", "code", "laws", "numba", "numpy", "python"}


def test_csv_and_parquet_have_the_same_rows(whole: Path) -> None:
    with (whole / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    frame = pd.read_parquet(whole / "sweep.parquet")
    numbers = look((whole / "report.html").read_text(encoding="utf-8"))
    assert {name: len(cells) - 1 for name, cells in numbers.items()} == {"sweep-0": 6, "sweep-1": 6}
    assert [int(row["point"]) for row in rows] == frame["point"].tolist()
    assert [row["agents_held"] for row in rows] == ["" if pd.isna(n) else str(int(n)) for n in frame["agents_held"]]
    assert sorted(path.name for path in whole.iterdir()) == ["report.html", "sweep.csv", "sweep.parquet"]


def test_two_processes_write_the_same_bytes(command: Command, tiny: str, whole: Path, tmp_path: Path) -> None:
    result = command("sweep", tiny, *AXES, "--jobs", "2", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "left; " in result.stderr
    for name in ("sweep.parquet", "sweep.csv", "report.html"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Dask cluster on this machine: a scheduler and two worker processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as local:
        yield local.scheduler_address


def test_a_dask_cluster_writes_the_same_bytes(command: Command, tiny: str, whole: Path, tmp_path: Path, cluster: str) -> None:
    result = command("sweep", tiny, *AXES, "--dask", cluster, "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "2 workers on 1 hosts" in result.stderr
    for name in ("sweep.parquet", "sweep.csv", "report.html"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_cluster_that_is_not_there(command: Command, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.capacity.cluster.PATIENCE_S", 1)
    result = command("sweep", tiny, *AXES, "--dask", "tcp://127.0.0.1:9", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "the address of a running scheduler" in result.stderr


def kill_after(words: list[str], points: int) -> None:
    """Starts the command and ends it with SIGKILL once it has told of so many points."""
    with subprocess.Popen([sys.executable, "-m", "simulator.cli.main", *words], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            points -= " points" in line and "before" not in line
            if not points:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


def test_a_killed_sweep_goes_on_and_repeats_no_finished_point(
    command: Command, tiny: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sweep", tiny, *AXES, "--jobs", "1", "--out", str(tmp_path)]
    kill_after(words, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.journal.jsonl"]
    journal = tmp_path / "sweep.journal.jsonl"
    kept = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert 3 <= len(kept) < 6
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn", "row": {"sta')
    again: list[Any] = []

    def counted(scenario: Any, ask: str) -> Any:
        again.append(scenario)
        return answer_point(scenario, ask)

    monkeypatch.setattr(played, "answer_point", counted)
    result = command(*words)
    assert result.exit_code == 0, result.stderr
    assert len(again) == 6 - len(kept)
    assert (tmp_path / "sweep.parquet").read_bytes() == (whole / "sweep.parquet").read_bytes()
    assert not journal.exists()


def test_a_larger_sweep_plays_only_what_is_new(command: Command, tiny: str, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a finished table count; other columns for the same field do no harm."""
    again: list[Any] = []

    def counted(scenario: Any, ask: str) -> Any:
        again.append(scenario.power_cap_w)
        return answer_point(scenario, ask)

    monkeypatch.setattr(played, "answer_point", counted)
    axes = ("--vary", "deployment=hgx_h200_v4pro_20tps", "--vary", "slo.speed_tok_s=60,30", "--vary", "power.cap_w=300,310")
    result = command("sweep", tiny, *axes, "--jobs", "1", "--out", str(whole), "--json")
    assert again == [310, 310] or sorted(again) == [310, 310]
    rows = json.loads(result.stdout)
    assert [row["power.cap_w"] for row in rows] == [300, 310, 300, 310]
    assert {row["deployment"] for row in rows} == {row["deployment_played"] for row in rows} == {"hgx_h200_v4pro_20tps"}


def test_a_folder_in_use_is_refused(command: Command, tiny: str, tmp_path: Path) -> None:
    from simulator.cli.sweep_journal import SweepJournal

    journal = SweepJournal(tmp_path / "sweep.journal.jsonl")
    result = command("sweep", tiny, *AXES, "--out", str(tmp_path))
    journal.close()
    assert result.exit_code == 2
    assert "in use by another sweep" in result.stderr


def test_given_numbers_of_agents_are_played(command: Command, tiny: str, tmp_path: Path) -> None:
    result = command("sweep", tiny, "--vary", "agents=1..3", "--set", "sweep.ask=run", "--jobs", "1", "--out", str(tmp_path), "--json")
    rows = json.loads(result.stdout)
    once = json.loads(command("run", tiny, "--json", "--agents", "3").stdout)
    assert [row["agents"] for row in rows] == [1, 2, 3]
    assert rows[2]["ttft_s_p95"] == once["ttft_s"]["p95"]
    assert rows[2]["watts_per_gpu_facility"] == once["watts_per_gpu"]["facility"]


HOSTILE = ("=1+1", "<script>alert(1)</script>", "@SUM(A1)", 'a\nb,"c', "x" * 400)


def test_hostile_names_stay_text(command: Command, tiny: str, tmp_path: Path) -> None:
    parts = [{"extends": "hgx_h200_v4pro_20tps", "name": name} for name in HOSTILE]
    axes = ("--vary", f"deployment={','.join(json.dumps(part) for part in parts)}", "--vary", "name==cmd|' /C calc'!A0,$x_1$")
    result = command("sweep", tiny, *axes, "--set", "sweep.ask=run", "--jobs", "1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    frame = pd.read_parquet(tmp_path / "sweep.parquet")
    assert set(frame["deployment_played"]) == set(HOSTILE)
    text = (tmp_path / "sweep.csv").read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert [cell for cell in cells if cell[:1] in ("=", "@", "\t", "\r")] == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list(look(page)) == ["sweep-0"]
