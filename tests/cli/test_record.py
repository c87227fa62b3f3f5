"""`record` as people run it: a process of its own, killed in mid-stream or ended by Ctrl-C, and files that hold numbers only."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from contextlib import AbstractContextManager, suppress
from http.client import HTTPException
from pathlib import Path

from simulator.workload import load_trajectories
from tests.cli.conftest import Command
from tests.cli.process import listening
from tests.unit.fake_endpoint import SECRETS, Server, messages, post, serving

ROOT = Path(__file__).parents[2]
PATH = "/v1/chat/completions"


def recorder(endpoint: Server, out: Path, *words: str) -> AbstractContextManager[tuple[subprocess.Popen[str], int, list[str]]]:
    """A running recorder: its process, its port, and the lines of its stderr so far."""
    to = f"http://127.0.0.1:{endpoint.port}/v1"
    return listening("record", "--to", to, "--out", str(out), "--port", "0", *words, cwd=out.parent)


def no_secret_in(folder: Path, said: list[str]) -> None:
    """Searches the bytes of every file, and all that was told."""
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()) + "".join(said).encode()
    assert [secret for secret in SECRETS if secret.encode() in everything] == []


def ask(port: int, *texts: str, **headers: str) -> None:
    assert post(port, PATH, {"messages": messages(*texts), "stream": True}, **headers)[0] == 200


def test_killed_in_mid_stream_it_loses_the_open_call_only(tmp_path: Path, command: Command) -> None:
    endpoint, out = Server(), tmp_path / "agent.jsonl"
    with serving(endpoint):
        with recorder(endpoint, out) as (process, port, said):
            ask(port, "s", "task")
            ask(port, "s", "task", "answer", "result")
            endpoint.half.clear()

            def open_call() -> None:
                with suppress(OSError, HTTPException):  # the recorder was killed: an answer without its end
                    ask(port, "s", "task", "answer", "result", "answer", "result", X_Slow="1")

            client = threading.Thread(target=open_call, daemon=True)
            client.start()
            assert endpoint.half.wait(30)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            endpoint.go_on.set()
            client.join(30)
        assert not client.is_alive()
        assert not out.exists()
        journal = tmp_path / "agent.jsonl.journal"
        (run,) = load_trajectories(journal).trajectories
        assert [(call.kept_tokens, call.new_tokens) for call in run.calls] == [(0, 200), (200, 100)]
        no_secret_in(tmp_path, said)
        assert (run.calls[0].prefix, run.calls[1].prefix) == (None, None), "one session shares with no other"
        result = command("record", "--to", "http://127.0.0.1:1/v1", "--out", str(out))
        assert result.exit_code == 2
        assert "there already" in result.stderr
        assert "convert" in result.stderr
        assert command("trajectories", "convert", str(journal), str(out)).exit_code == 0
        assert len(load_trajectories(out).trajectories[0].calls) == 2


def test_ctrl_c_writes_the_native_file(tmp_path: Path) -> None:
    endpoint, out = Server(), tmp_path / "agents.jsonl.gz"
    with serving(endpoint), recorder(endpoint, out, "--label", "language=python") as (process, port, said):
        for agent in ("a", "b"):
            ask(port, "s", f"task {agent}")
        for agent in ("a", "b"):
            ask(port, "s", f"task {agent}", "answer", "result")
        post(port, PATH, {"messages": messages("s", "u")}, X_Fail="1")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout is not None
        shown = process.stdout.read()
    assert [path.name for path in tmp_path.iterdir()] == [out.name], "no journal is left"
    found = load_trajectories(out)
    assert [(len(run.calls), run.labels["language"]) for run in found.trajectories] == [(2, "python"), (2, "python")]
    assert found.provenance["quality"] == "estimated", "what the sessions share is a share of characters"
    assert found.provenance["estimated"].startswith("shared tokens of 1 calls")
    assert [run.calls[0].prefix for run in found.trajectories] == [0, 0]
    assert 0 < found.prefixes[0].tokens < 200
    assert "call 3 of session 1: 300 prompt tokens (200 kept), 7 answered" in "".join(said)
    no_secret_in(tmp_path, [*said, shown])


def test_without_a_call_nothing_is_written(tmp_path: Path) -> None:
    endpoint = Server()
    with serving(endpoint), recorder(endpoint, tmp_path / "x.jsonl") as (process, _, said):
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "no call was recorded" in "".join(said)
    assert list(tmp_path.iterdir()) == []


def test_mistakes(command: Command, tmp_path: Path) -> None:
    out, there = str(tmp_path / "x.jsonl"), tmp_path / "there.jsonl"
    there.touch()
    for words, told in (
        (("--to", "https://user:pass@example.com/v1", "--out", out), "address"),
        (("--to", "https://example.com/v1", "--out", str(tmp_path / "x.csv")), ".jsonl"),
        (("--to", "https://example.com/v1", "--out", out, "--label", "x"), "NAME=VALUE"),
        (("--to", "https://example.com/v1", "--out", str(there)), "there already"),
    ):
        result = command("record", *words)
        assert result.exit_code == 2
        assert told in result.stderr
        assert "pass" not in result.stderr
    assert list(tmp_path.iterdir()) == [there]


def test_a_port_that_is_taken_is_told_and_leaves_no_journal(command: Command, tmp_path: Path) -> None:
    endpoint = Server()
    with serving(endpoint):
        words = ("--to", "http://127.0.0.1:1/v1", "--out", str(tmp_path / "x.jsonl"), "--port", str(endpoint.port))
        result = command("record", *words)
    assert result.exit_code == 2
    assert "a free port" in result.stderr
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == "[]"
