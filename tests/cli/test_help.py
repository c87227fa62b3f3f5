"""Help: every command in its panel, and a command line that loads nothing heavy to show it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command

HEAVY = ("asyncio", "httpx", "numba", "numpy", "pandas", "matplotlib", "scipy", "yaml", "jinja2", "joblib", "pyarrow", "pydantic", "simpy")


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, simulator.cli.main; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert not set(HEAVY) & set(result.stdout.split())


def test_panels_and_commands(command: Command) -> None:
    text = command("--help").stdout
    ask, know = text.index("Ask"), text.index("Know")
    for name in ("run", "capacity", "compare"):
        assert ask < text.index(f" {name} ") < know
    for name in ("profiles", "trajectories"):
        assert text.index(f" {name} ") > know


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("capacity",),
        ("compare",),
        ("profiles",),
        ("profiles", "show"),
        ("trajectories",),
        ("trajectories", "generate"),
        ("measure-gpu",),
        ("serve",),
        ("drift",),
    ],
)
def test_every_command_has_help(command: Command, words: tuple[str, ...]) -> None:
    result = command(*words, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version(command: Command) -> None:
    result = command("--version")
    assert result.exit_code == 0
    assert result.stdout.strip()[0].isdigit()
