"""What coverage led to and what people tried (docs/fuzzing.md), each in its smallest form: it ended in a traceback, or did not end."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simulator.calibration.evidence import read_rows
from simulator.calibration.past_run import read_past_run
from simulator.calibration.silicon import read_silicon
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.sweep_axes import parse_axes
from simulator.cli.files import write_text
from simulator.cli.gpu_fit import read_evidence
from simulator.cli.main import app
from simulator.cli.past import told_limits
from simulator.errors import UserError
from simulator.hardware.load import load_system
from simulator.workload import load_trajectories
from simulator.workload.native import native_bytes
from tests.readers.test_mooncake import write

HEADER = {"format": "agentwatt-trajectories", "version": 1, "context": "delta", "history": "recorded"}
RUN = {"id": "a", "calls": [{"new_tokens": 5, "output_tokens": 1}]}
READERS: dict[str, Callable[[Path], Any]] = {
    "x.yaml": load_scenario, "y.yaml": load_system, "x.jsonl": load_trajectories, "x.csv": read_rows, "y.csv": read_evidence,
    "z.csv": read_silicon, "z.jsonl": read_past_run,
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_that_nobody_writes_to(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"a device, a pipe or a socket|no such file"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", ["x.csv.gz", "y.csv.gz", "z.csv.gz"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"id," + 10**6 * b"x", "at most 100,000 characters"),
        (b"id," + 10**4 * b"\n", "missing|column|nothing"),
        (gzip.compress(b"id,x" * 99)[:-9], "cannot be read"),
        (b"id,\xff", "cannot be read"),
    ],
    ids=["long", "empty lines", "cut", "no text"],
)
def test_tables_that_are_packed_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str) -> None:
    monkeypatch.setattr("simulator.calibration.evidence.MOST_TEXT", 100_000)
    file = tmp_path / name
    file.write_bytes(content if content.startswith(b"\x1f") else gzip.compress(content))
    with pytest.raises(UserError, match=words):
        READERS[name.removesuffix(".gz")](file)


def test_a_cell_beyond_what_a_table_may_have(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id," + 200_000 * "x", encoding="utf-8")
    with pytest.raises(UserError, match="field larger than field limit"):
        read_rows(file)


def test_empty_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.workload.source.MOST_EMPTY", 100)
    file = write(tmp_path / "x.jsonl", HEADER, *99 * [""], RUN, *99 * [""])
    assert load_trajectories(file).trajectories
    write(file, HEADER, RUN, *101 * [""])
    with pytest.raises(UserError, match=r"x.jsonl:103; found more empty lines; allowed: at most 100 in a row"):
        load_trajectories(file)


def test_lists_where_the_header_of_a_run_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no format that is known"):
        read_past_run(write(tmp_path / "run.jsonl", [[]], {"d": 1}))


@pytest.mark.parametrize("number", ["²", "٣", 5000 * "9", "0"])
def test_numbers_that_only_look_like_one(number: str) -> None:
    with pytest.raises(UserError, match="a whole number above 0"):
        told_limits([f"max_seqs={number}"])


def test_words_that_are_no_text() -> None:
    said = CliRunner().invoke(app, ["run", "run_h200", "--set", "name=\udcff"])
    assert said.exit_code == 2
    assert "found 'name=?', which is not UTF-8" in said.stderr


def test_half_a_surrogate_pair_in_a_scenario(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text('name: "\\ud800"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"x.yaml:1: name; found half a surrogate pair"):
        load_scenario(tmp_path / "x.yaml")


def test_half_a_surrogate_pair_in_a_name_is_written_as_a_question_mark(tmp_path: Path) -> None:
    found = load_trajectories(write(tmp_path / "x.jsonl", HEADER, RUN | {"id": "a\ud800"}))
    assert b'"id":"a?"' in native_bytes(found, packed=False)
    write_text(tmp_path / "page.html", found.trajectories[0].id)
    assert (tmp_path / "page.html").read_bytes() == b"a?"


@pytest.mark.parametrize("option", ["--gpus", "--widest"])
def test_shapes_of_more_gpus_than_there_are(option: str) -> None:
    said = CliRunner().invoke(app, ["shape", "run_h200", option, 21 * "9"])
    assert said.exit_code == 2
    assert "100000" in said.stderr


@pytest.mark.parametrize("text", ["agents=1...", "agents=1....5", "agents=1.2.3..5", "agents=1..2.3.4/5"])
def test_ranges_with_too_many_dots(text: str) -> None:
    with pytest.raises(UserError, match=r"1\.\.8"):
        parse_axes([text])
