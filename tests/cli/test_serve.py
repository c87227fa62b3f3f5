"""`serve` as people run it: a process of its own that is asked over HTTP and ended by Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.process import listening

ROOT = Path(__file__).parents[2]


def server(scenario: str, *words: str) -> AbstractContextManager[tuple[subprocess.Popen[str], int, list[str]]]:
    """A running server: its process, its port, and the lines of its stderr so far."""
    return listening("serve", scenario, "--port", "0", *words)


def ask(port: int, method: str, path: str, request: dict[str, Any] | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(request).encode() if request else None)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_start_ask_stop(tiny: str, told: signal.Signals) -> None:
    with server(tiny, "--time-scale", "5", "--model-name", "tiny") as (process, port, said):
        status, body = ask(port, "GET", "/v1/models")
        assert status == 200
        (card,) = json.loads(body)["data"]
        assert card["id"] == "tiny"
        prompt = list(range(1000))
        for cached in (0, 15 * 64):
            status, body = ask(port, "POST", "/v1/completions", {"model": "tiny", "prompt": prompt, "max_tokens": 9})
            usage = json.loads(body)["usage"]
            assert usage["completion_tokens"] == 9
            assert usage["prompt_tokens_details"]["cached_tokens"] == cached
        process.send_signal(told)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "", "results go to clients, words to stderr"
    assert "2 calls had come" in said[-1]


def test_mistakes(command: Command, tiny: str) -> None:
    for words, text in (
        ((tiny, "--time-scale", "0"), "--time-scale"),
        (("compare",), "--cell"),
        (("compare", "--cell", "9"), "--cell"),
    ):
        result = command("serve", *words)
        assert result.exit_code == 2
        assert text in result.stderr


def test_a_port_that_is_taken_is_told(command: Command, tiny: str) -> None:
    with server(tiny) as (process, port, _):
        result = command("serve", tiny, "--port", str(port))
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert result.exit_code == 2
    assert "a free port" in result.stderr
