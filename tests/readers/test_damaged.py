"""Damaged and hostile files: what is said, and that no more than the limits is held in memory."""

import gzip
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.errors import UserError
from simulator.workload import load_trajectories
from simulator.workload.records import Reading
from simulator.workload.source import Limits
from tests.readers.test_agent_logs import ASKED, claude, codex, count, span, usage
from tests.readers.test_closed_loop import record, row, say
from tests.readers.test_mooncake import ROWS, write
from tests.readers.test_weka import request, session

SMALL = Reading(limits=Limits(line_bytes=1 << 20, document_bytes=1 << 20))
HEADER = {"format": "agentwatt-trajectories", "version": 1, "context": "delta", "history": "recorded"}
NATIVE = [HEADER, {"id": "a", "calls": [{"new_tokens": 5, "output_tokens": 1}]}]
LITELLM = {"session_id": "s", "prompt_tokens": 9, "completion_tokens": 3, "startTime": 1.0, "endTime": 2.0}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "response_id": "r"}
STEP = {"action": "ls", "response": "a", "execution_time": 0.5, "messages": [{"role": "user", "content": "x"}]}
ANSWER = {
    "role": "assistant",
    "content": "a",
    "extra": {"timestamp": 5.0, "response": {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}},
}
OPENCODE = {"id": "m", "role": "assistant", "sessionID": "s", "time": {"created": 1}, "tokens": {"input": 5, "output": 3}}
GOOD: dict[str, tuple[list[Any], tuple[Any, ...], str]] = {
    # by format: its lines (a single one is a document), where a count stands in the last of them, and how messages name it
    "native": (NATIVE, ("calls", 0, "new_tokens"), "a.calls[0].new_tokens"),
    "weka": ([session(request(0, 64, [1]))], ("requests", 0, "in"), "requests[0].in"),
    "mooncake": (ROWS, ("input_length",), "input_length"),
    "dynamo": ([row("a", 9, wait_for=[]), row("b", 9, wait_for=["a"])], ("output_length",), "output_length"),
    "qwen": ([{"chat_id": 1, "parent_chat_id": -1, **ROWS[0], "input_length": 40}], ("output_length",), "output_length"),
    "aiperf inputs": ([{"session_id": "s", "turns": [say("x")]}], ("turns", 0, "max_tokens"), "turns[0].max_tokens"),
    "aiperf records": ([record("a", 1, 9)], ("metrics", "usage_prompt_tokens", "value"), "metrics.usage_prompt_tokens.value"),
    "swe-agent": ([{"trajectory": [STEP], "history": [], "info": {}}], ("trajectory", 0, "execution_time"), "trajectory[0].execution_time"),
    "mini": ([{"trajectory_format": "mini-swe-agent-1", "messages": [{"role": "user", "content": "t"}, ANSWER]}],
             ("messages", 1, "extra", "response", "usage", "prompt_tokens"), "messages[1].extra.response.usage.prompt_tokens"),
    "openhands": ([{"instance_id": "i", "history": [], "metrics": {"token_usages": [USAGE]}}],
                  ("metrics", "token_usages", 0, "prompt_tokens"), "metrics.token_usages[0].prompt_tokens"),
    "claude code": ([claude("user", "u1", None, 0, **ASKED), claude("assistant", "u2", "u1", 2, **usage("m1", 4, 9, 3, 1))],
                    ("message", "usage", "cache_read_input_tokens"), "message.usage.cache_read_input_tokens"),
    "codex": ([codex(0, "session_meta", id="x"), count(3, 26, 26, 0, 4)],
              ("payload", "info", "last_token_usage", "input_tokens"), "payload.info.last_token_usage.input_tokens"),
    "opencode": ([OPENCODE], ("tokens", "input"), "tokens.input"),
    "litellm": ([LITELLM], ("prompt_tokens",), "prompt_tokens"),
    "otel": ([{"resourceSpans": [{"scopeSpans": [{"spans": [span("1", "", 1, 2, prompt=9)]}]}]}],
             ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "startTimeUnixNano"),
             "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"),
}  # fmt: skip


@pytest.fixture
def peak_bytes() -> Iterator[list[int]]:
    """Most memory held at once since the test began, when the test has ended."""
    tracemalloc.start()
    found: list[int] = []
    yield found
    tracemalloc.stop()


def refused(path: Path, reading: Reading = SMALL) -> str:
    with pytest.raises(UserError) as caught:
        load_trajectories(path, reading)
    return str(caught.value)


@pytest.mark.parametrize("value", [-1, "many", None, [], True, 10**30], ids=repr)
@pytest.mark.parametrize("kind", GOOD)
def test_negative_counts_and_wrong_types_are_named_with_file_and_field(tmp_path: Path, kind: str, value: Any) -> None:
    rows, place, field = deepcopy(GOOD[kind])
    path = write(tmp_path / "log.jsonl", *rows)
    reading = Reading(prompts="full", block_tokens=None)
    assert load_trajectories(path, reading).trajectories
    inside = rows[-1]
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    if value is None and kind in ("swe-agent", "claude code", "aiperf inputs"):
        return  # may be absent, or then another field is asked for
    message = refused(write(path, *rows), reading)
    assert message.startswith(str(path))
    assert field in message


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where anything stands in a JSON value."""
    yield above
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from places(item, (*above, key))


ODD = [None, -1, 0, "", "x", [], {}, [1], {"a": 1}, True, 1.5, -5.5, 10**30, [None], [[]], "2026-01-01T00:00:00Z"]


@pytest.mark.parametrize("kind", GOOD)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_wrong_a_reader_reads_or_refuses(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Any part of a good file changed to something odd: nothing but a `UserError` comes out."""
    rows = deepcopy(GOOD[kind][0])
    place = data.draw(st.sampled_from([place for place in places(rows) if len(place) > 1]))
    inside = rows
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = data.draw(st.sampled_from(ODD))
    with suppress(UserError):
        load_trajectories(write(tmp_path / "log.jsonl", *rows), Reading(prompts="full", skip_bad=data.draw(st.booleans())))


@pytest.mark.parametrize("kind", GOOD)
def test_a_line_that_is_cut_is_named_and_skipped_only_when_asked(tmp_path: Path, kind: str) -> None:
    rows, _, _ = GOOD[kind]
    if len(rows) == 1 or kind == "native":
        text = json.dumps(rows[0])
        message = refused(write(tmp_path / "log.jsonl", text[: len(text) // 2]))
        assert "not JSON" in message or "not one JSON object" in message
        return
    text = json.dumps(rows[-1])
    path = write(tmp_path / "log.jsonl", *rows, text[: len(text) // 2])
    assert f"log.jsonl:{len(rows) + 1}: not JSON" in refused(path, Reading(prompts="full")).replace("; ", ": ")
    assert load_trajectories(path, Reading(skip_bad=True, prompts="full")).provenance["skipped"].startswith("1 bad records, as asked")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
@pytest.mark.parametrize("rows", [ROWS * 200, NATIVE[:1] + [{**NATIVE[1], "id": f"t{i}"} for i in range(500)]], ids=["mooncake", "native"])
def test_packed_files_that_are_cut_or_garbled_are_refused(tmp_path: Path, pack: Any, rows: list[Any]) -> None:
    data = pack("".join(json.dumps(one) + "\n" for one in rows).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    assert load_trajectories(tmp_path / "a.jsonl.gz").trajectories
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) * 2 // 3])
    assert "cannot be read: Compressed file ended" in refused(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.jsonl.gz").write_bytes(data[:200] + bytes(100) + data[300:])
    assert refused(tmp_path / "a.jsonl.gz")


def test_an_archive_that_is_cut_is_refused(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.json").write_text(
            json.dumps(session(request(number, 64 * 50, list(range(number, number + 50))), name=f"s{number}"))
        )
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as archive:
        for number in range(30):
            archive.add(tmp_path / f"{number}.json", f"{number}.json")
    whole = (tmp_path / "a.tar.xz").read_bytes()
    assert len(load_trajectories(tmp_path / "a.tar.xz").trajectories) == 30
    (tmp_path / "cut.tar.xz").write_bytes(whole[: len(whole) * 2 // 3])
    assert "cannot be read" in refused(tmp_path / "cut.tar.xz")


@pytest.mark.parametrize(
    "begin", [b"", b"[", b'{"a": "', json.dumps(HEADER).encode()[:-1] + b', "name": "'], ids=["zeros", "list", "text", "native"]
)
def test_a_line_of_2_gb_is_refused_by_its_length_without_reading_it(tmp_path: Path, begin: bytes, peak_bytes: list[int]) -> None:
    """A sparse file; the limit is lowered to 1 MiB for the log, and at its default 64 MiB for a native file."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as stream:
        stream.write(begin)
        stream.truncate(2 << 30)
    message = refused(path)
    peak_bytes.append(tracemalloc.get_traced_memory()[1])
    native = begin.startswith(b'{"format')
    assert f"a.jsonl:1; found a longer line; allowed: lines of at most {64 << 20 if native else 1 << 20:,} bytes" in message
    assert peak_bytes[0] < (3 * (64 << 20) if native else 8 << 20)


def test_a_document_beyond_its_limit_is_refused(tmp_path: Path, peak_bytes: list[int]) -> None:
    path = tmp_path / "a.json"
    with path.open("w") as stream:
        stream.write('{"resourceSpans":\n[\n')
        for _ in range(1000):
            stream.write('{"scopeSpans": []},\n' * 100)
        stream.write("{}]}")
    assert "found more in one document; allowed: at most 1,048,576 bytes" in refused(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_decompression_bomb_is_refused_as_it_grows(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(pack((json.dumps(ROWS[0]) + "\n").encode() * 30 + b"\n" * (1 << 18)))
    tracemalloc.start()
    message = refused(tmp_path / "a.jsonl.gz", Reading(limits=Limits(document_bytes=1 << 16, expansion=100)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "is a decompression bomb" in message
    assert peak < 16 << 20


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in refused(write(tmp_path / "a.json", "[" * 200_000))
    depth, leaf = 2500, json.dumps(request(1.0, 64, [1]))
    nested = f'{{"t": 1, "type": "subagent", "requests": [{leaf}, ' * depth + leaf + "]}" * depth
    path = write(tmp_path / "b.json", json.dumps(session(request(0, 64, [1]), "here")).replace('"here"', nested))
    assert "nested too deeply" in refused(path)


def test_what_is_no_log_is_told_the_nearest_one(tmp_path: Path) -> None:
    near = {key: value for key, value in ROWS[0].items() if key != "timestamp"}
    assert "nearest: Mooncake trace; it lacks timestamp" in refused(write(tmp_path / "a.jsonl", near))
    assert "nearest: Azure trace; it lacks GeneratedTokens" in refused(
        write(tmp_path / "a.csv", "TIMESTAMP,ContextTokens,Generated", "x,1,2")
    )
    (tmp_path / "b.bin").write_bytes(bytes(range(256)))
    assert "nothing that is JSON, JSON lines or CSV" in refused(tmp_path / "b.bin")
    (tmp_path / "empty").mkdir()
    assert "nothing that is JSON, JSON lines or CSV" in refused(tmp_path / "empty")
