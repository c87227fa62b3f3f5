"""`trajectories`: lists, statistics, plots, generated and changed sets, and what bad input is told."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.catalog import names
from simulator.workload import load_trajectories
from simulator.workload.native import write_native
from tests.cli.conftest import Command
from tests.unit.page_checks import HOSTILE, look


def test_trajectories_list_is_the_default(command: Command) -> None:
    result = command("trajectories")
    assert result.exit_code == 0, result.stderr
    for name in names("trajectories"):
        assert name in result.stdout


def test_statistics_with_targets(command: Command) -> None:
    result = command("trajectories", "stats", "agentperf_like", "--targets")
    assert result.exit_code == 0, result.stderr
    assert "ISL mean" in result.stdout
    assert "27,000 ±5%" in result.stdout
    assert "NOT MET" not in result.stdout


def test_sub_agents_can_be_generated_and_are_shown(command: Command, tmp_path: Path) -> None:
    path = str(tmp_path / "fan_out.jsonl.gz")
    result = command("trajectories", "generate", path, "-t", "20", "--sub-agents")
    assert result.exit_code == 0, result.stderr
    for shown in (result.stdout, command("trajectories", "stats", path).stdout):
        assert "calls in sub-agents" in shown
        assert "threads per trajectory max" in shown
    assert "sub-agent" not in command("trajectories", "stats", "agentperf_like").stdout


def test_generate_gives_the_same_file_for_a_seed(command: Command, tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        assert command("trajectories", "generate", str(tmp_path / name), "-t", "5", "--seed", "7").exit_code == 0
    content = (tmp_path / "a.jsonl.gz").read_bytes()
    assert content == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(content) == (tmp_path / "c.jsonl").read_bytes()
    assert command("trajectories", "stats", str(tmp_path / "c.jsonl")).exit_code == 0


def test_statistics_as_json(command: Command) -> None:
    found = json.loads(command("trajectories", "stats", "agentperf_local", "--json", "--agents", "4").stdout)
    assert found["figures"]["trajectories"] == 8
    assert found["agents"] == 4
    by_cache = [row["reuse"] for row in found["reuse_by_cache"]]
    assert by_cache == sorted(by_cache)
    assert by_cache[-1] == pytest.approx(found["figures"]["reusable in blocks of 64"])


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_plots_of_two_sets_are_the_same_every_time(command: Command, tmp_path: Path, suffix: str) -> None:
    path, contents = tmp_path / f"a{suffix}", []
    for _ in range(2):
        result = command("trajectories", "plot", "agentperf_local", "agentperf_local", "--out", str(path))
        assert result.exit_code == 0, result.stderr
        contents.append(path.read_bytes())
    content = contents[0]
    assert content == contents[1]
    if suffix == ".html":
        page = content.decode()
        rows = look(page)["sets"]
        assert {row[0] for row in rows[1:]} >= {"prompt of a call (ISL)", "prompt over a run"}
        assert {row[1] for row in rows[1:]} == {"agentperf_local (1)", "agentperf_local (2)"}
        assert all(name in page for name in ("agentperf_local (1)", "agentperf_local (2)", "growth per call"))
    else:
        assert content.startswith(b"\x89PNG")


def test_a_chain_of_operations_is_written_down(command: Command, tmp_path: Path) -> None:
    one, other = str(tmp_path / "one.jsonl.gz"), str(tmp_path / "other.jsonl")
    steps = [
        ("convert", "agentperf_local", one, "--name", "mine"),
        ("scale", one, one, "--tool-time", "2", "--output", "0.5"),
        ("filter", one, one, "--min-calls", "5"),
        ("dedupe", one, one),
        ("mix", f"{one}=3", "agentperf_like", other, "-t", "40", "--seed", "2"),
    ]
    for step in steps:
        result = command("trajectories", *step)
        assert result.exit_code == 0, result.stderr
        assert "written" in result.stderr
    found = load_trajectories(other)
    assert sum(trajectory.id.startswith("mine/") for trajectory in found.trajectories) == 30
    assert "scale tool_time x 2, output x 0.5; then filter calls >= 5 (" in found.provenance["origin"]
    assert command("trajectories", "anonymise", other, one).exit_code == 0
    assert "mine" not in gzip.decompress(Path(one).read_bytes()).decode()


def test_convert_takes_the_choices_that_a_log_leaves_open(command: Command, tmp_path: Path) -> None:
    out = str(tmp_path / "out.jsonl")
    rows = [{"timestamp": 0, "input_length": 700, "output_length": 20, "hash_ids": [1, 2]}, {"timestamp": 5, "input_length": "x"}]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused = command("trajectories", "convert", str(log), out)
    assert refused.exit_code == 2
    assert f"{log}:2" in refused.stderr
    assert not Path(out).exists()
    assert command("trajectories", "convert", str(log), out, "--skip-bad").exit_code == 0
    found = load_trajectories(out)
    assert len(found.trajectories) == 1
    assert "1" in found.provenance["skipped"]
    assert command("trajectories", "convert", str(log), out, "--prompts", "some").exit_code == 2


def test_generate_like_a_set_shows_the_two_sample_tests(command: Command, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        result = command("trajectories", "generate", str(tmp_path / name), "--like", "agentperf_local", "--seed", "3", "-t", "20")
        assert result.exit_code == 0, result.stderr
        assert "growth per call" in result.stdout
        assert "alike" in result.stdout
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("convert", "agentperf_local", "OUT.csv"), "ends in .jsonl"),
        (("convert", "nothing.json", "OUT.jsonl"), "no such file"),
        (("scale", "agentperf_local", "OUT.jsonl", "--prompt", "0"), "more than 0"),
        (("filter", "agentperf_local", "OUT.jsonl", "--label", "harnes=x"), "harness"),
        (("filter", "agentperf_local", "OUT.jsonl", "--label", "harness"), "NAME=VALUE"),
        (("filter", "agentperf_local", "OUT.jsonl", "--min-calls", "999"), "no trajectory of 8"),
        (("mix", "agentperf_local=0", "OUT.jsonl"), "weight"),
        (("anonymise", "agentperf_local", "OUT.jsonl", "--keep", "nme"), "nme"),
        (("plot", "agentperf_local", "--out", "OUT.pdf"), ".html or .png"),
        (("generate", "OUT.jsonl", "--like", "agentperf_local", "--sub-agents"), "--like"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(command: Command, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    result = command("trajectories", *(word.replace("OUT", str(tmp_path / "out")) for word in words))
    assert result.exit_code == 2, result.stdout
    assert told in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_of_sets_stay_text(command: Command, tmp_path: Path) -> None:
    path, page = tmp_path / "mine.jsonl", tmp_path / "sets.html"
    found = load_trajectories("agentperf_local")
    write_native(replace(found, name=HOSTILE, provenance={**found.provenance, "origin": HOSTILE, "method": HOSTILE}), path)
    result = command("trajectories", "plot", str(path), "--out", str(page))
    assert result.exit_code == 0, result.stderr
    text = page.read_text(encoding="utf-8")
    assert look(text)["sets"][1][1].startswith("'=cmd|")
    assert "&lt;script&gt;" in text
