"""`serve` as people run it: a process of its own that is asked over HTTP and ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]


@contextmanager
def server(scenario: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """A running server: its process, its port, and the lines of its stderr so far."""
    command = [sys.executable, "-m", "simulator.cli.main", "serve", scenario, "--port", "0", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    said: list[str] = []
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        for line in process.stderr:
            said.append(line)
            if "OPENAI_BASE_URL" in line:
                break
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        reader.start()
        yield process, int(said[-1].rsplit(":", 1)[1].split("/")[0]), said
        reader.join(30)
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()
        process.stdout.close()


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
