"""What the command's tests share: a scenario that plays in a moment, and a way to run the command in this process."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simulator.cli.main import app

Command = Callable[..., Any]

# A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that: tests that press it need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny() -> str:
    return str(Path(__file__).with_name("tiny.yaml"))


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs ``agentwatt`` with the given words; stdout and stderr come apart."""

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    return run
