"""Two whole answers, to the byte. A golden is a freeze, not a proof: it says that something moved, never that it was right.

What an answer must be is held elsewhere: tokens, time and energy of an operating point by `tests/laws/test_laws.py`, its TTFT and TPOT
without load by `tests/theory/test_known_answers.py`, the edge that a search finds by `tests/unit/test_capacity_search.py`. When one of
these files moves, find out why; when the new answer is the right one, renew both and say so in the commit::

    .venv/bin/python -m tests.golden.test_answers
"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli.main import app

SHORT = [
    word
    for change in ("ramp_s=10", "warmup_s=10", "min_window_s=120", "min_trajectories=0", "min_agent_trajectories=0")
    for word in ("--set", f"phase.{change}")
]
COMMANDS = {
    "run_h200": ["run", "run_h200", "--agents", "4", "--json", *SHORT],
    "capacity_h200": ["capacity", "capacity_h200", "--json", *SHORT],
}


def golden(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.json")


def answered(name: str) -> str:
    result = CliRunner().invoke(app, COMMANDS[name])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_answer_has_not_moved(name: str) -> None:
    assert answered(name) == golden(name).read_text(encoding="utf-8")


if __name__ == "__main__":
    for each in COMMANDS:
        golden(each).write_text(answered(each), encoding="utf-8")
