"""A user's mistakes: one line each on stderr, status 2, nothing on stdout, no traceback; bugs stay bugs."""

import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli.exit_codes import ExitCode
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]


def told(command: Command, *words: str) -> list[str]:
    """The lines on stderr of a command that must fail as bad input."""
    result = command(*words)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()


def test_unknown_scenario_names_the_nearest(command: Command) -> None:
    (line,) = told(command, "compare", "compar")
    assert "did you mean 'compare'?" in line


def test_unknown_profile_lists_what_there_is(command: Command) -> None:
    (line,) = told(command, "profiles", "show", "hgx_h20")
    assert "hgx_h200" in line


def test_all_mistakes_at_once_with_file_and_line(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "deployment: hgx_h200_v4pro_20tps\nworkload: {kind: fixed, isl: -1, osl: 5}\nseedz: 3\nagents: many\n", encoding="utf-8"
    )
    lines = told(command, "run", str(file))
    assert len(lines) == 3
    for place, word in ((":2:", "isl"), (":3:", "seedz"), (":4:", "agents")):
        assert any(f"bad.yaml{place}" in line and word in line for line in lines)


def test_bad_profile_is_told_by_check(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "sys.yaml"
    file.write_text("extends: hgx_h200\nname: x\ntdp_w: {value: -5, unit: kW, source: s, quality: guess}\nhbm_byts: 3\n", encoding="utf-8")
    lines = told(command, "profiles", "check", str(file))
    assert len(lines) >= 3
    assert all("sys.yaml:" in line for line in lines)


@pytest.mark.parametrize("change", ["nonsense", "workload.osl=0", "deployment.wrkers=2", "=3"])
def test_bad_changes(command: Command, tiny: str, change: str) -> None:
    assert told(command, "run", tiny, "--set", change)


def test_zero_agents(command: Command, tiny: str) -> None:
    (line,) = told(command, "run", tiny, "--agents", "0")
    assert "agents" in line


def test_unwritable_place(command: Command, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    result = command("run", tiny, "--html", str(tmp_path / "file" / "x.html"))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "cannot be written" in result.stderr
    assert result.stdout == ""


def test_unknown_option_is_bad_input(command: Command) -> None:
    assert command("run", "--nonsense").exit_code == ExitCode.BAD_INPUT


def test_a_hostile_file_name_stays_on_one_line(command: Command, tmp_path: Path) -> None:
    lines = told(command, "run", str(tmp_path / "a\nb\x1b[31m.yaml"))
    assert len(lines) == 1
    assert "\x1b" not in lines[0]


def test_no_traceback_in_a_real_process(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "simulator.cli.main", "run", str(tmp_path / "none.yaml")]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == ExitCode.BAD_INPUT
    assert "Traceback" not in result.stderr
    assert "none.yaml" in result.stderr


def test_a_bug_is_not_dressed_up(command: Command, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("simulator.capacity.run", broken)
    result = command("run", tiny)
    assert isinstance(result.exception, ZeroDivisionError)


def test_ctrl_c_has_its_own_status(command: Command, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.capacity.run", stopped)
    assert command("run", tiny).exit_code == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("agents=1000000000000", "agents; found 1000000000000; allowed: a whole number from 1 to 1,000,000"),
        ("seeds=1000000000", "allowed: how many (1 to 1,000)"),
        ("phase.max_s=1000000000", "allowed: a number > 0 and <= 8,640,000 s"),
        ("phase.min_trajectories=100000000000000000000", "allowed: a whole number from 0 to 1,000,000,000"),
        ("workload.osl=1000000000000000", "workload.osl"),
        ("uncertainty.samples=100000000000", "allowed: a whole number from 2 to 1,000"),
    ],
)
def test_what_no_machine_holds_is_refused_before_work_starts(command: Command, tiny: str, change: str, words: str) -> None:
    assert words in told(command, "run", tiny, "--set", change)[0]


def test_what_this_machine_does_not_hold_is_told(command: Command, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("simulator.capacity.run", too_much)
    assert told(command, "run", tiny)[0].startswith("out of memory: fewer agents")
