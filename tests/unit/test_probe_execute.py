"""Cells on a hand-made engine: what its rows say, fault by fault."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow, Span, Turn
from simulator.calibration.cell_file import cell_line, read_cells, read_requests, request_line
from simulator.probe.client import Client, Unreachable, wait_s
from simulator.probe.dialects import LLAMACPP, VLLM
from simulator.probe.execute import Setting, execute
from simulator.probe.metrics import Metrics
from simulator.probe.prompts import Prompts
from simulator.wire.address import address_of
from tests.unit.fake_endpoint import KEY, serving
from tests.unit.fake_engine import Engine


def endpoint(engine: Engine, **changes: Any) -> Endpoint:
    facts = {"path": "/v1/completions", "running_usage": True, **changes.pop("facts", {})}
    known: dict[str, Any] = {
        "url": engine.url, "model": "tiny", "dialect": "vllm", "version": None, "token_ids": True, "ignore_eos": True, "min_tokens": True,
        "stream_usage": True, "cached_tokens": True, "max_context_tokens": 8192, "max_seqs": None, "block_tokens": None, "kv_blocks": None,
        "token_budget": None, "vocabulary": 4000,
    }  # fmt: skip
    return Endpoint(**(known | changes), facts=facts)


def cell(sessions: int = 1, turns: int = 1, lanes: int = 1, output: int = 8, wait_s: float = 0.0) -> Cell:
    asked = tuple(tuple(Turn((Span(s, 0, 64 * (t + 1)),), output, wait_s) for t in range(turns)) for s in range(sessions))
    return Cell("prefill 64 #0", "prefill", 0, {"tokens": 64}, lanes, asked)


def play(engine: Engine, asked: Cell, key: str = "", stall_s: float = 5.0, **changes: Any) -> tuple[list[RequestRow], CellRow]:
    """One cell, on the engine while it serves."""

    async def played() -> tuple[list[RequestRow], CellRow]:
        client = Client(address_of(engine.url, "calibrate", "URL"), key, time.perf_counter, stall_s)
        dialect = {"vllm": VLLM, "llamacpp": LLAMACPP}.get(engine.dialect)
        metrics = Metrics(client, "/metrics", dialect) if dialect else None
        known = endpoint(engine, **changes)
        try:
            return await execute(asked, Setting(known, client, time.perf_counter, Prompts(known, 7), metrics))
        finally:
            client.close()

    with serving(engine):
        try:
            return asyncio.run(played())
        finally:
            engine.let_go.set()


def test_a_cell_as_it_should_go() -> None:
    engine = Engine(step_s=0.004)
    rows, row = play(engine, cell(sessions=2, turns=2, lanes=2, output=12))
    assert [(r.session, r.turn, r.prompt_tokens, r.cached_tokens, r.output_tokens, r.error) for r in rows] == [
        (0, 0, 64, 0, 12, None), (0, 1, 128, 64, 12, None), (1, 0, 64, 0, 12, None), (1, 1, 128, 64, 12, None),
    ]  # fmt: skip
    assert all(r.chunks == 12 and not r.coalesced and r.retries == 0 for r in rows)
    assert all(r.first_s is not None and r.last_s is not None and r.sent_s + 0.004 <= r.first_s < r.last_s <= r.end_s for r in rows)
    assert rows[1].sent_s >= rows[0].end_s, "turns follow each other"
    assert rows[2].sent_s < rows[0].end_s, "lanes run side by side"
    assert (row.requests, row.failed, row.notes) == (4, 0, ())
    assert (row.metrics["prompt_tokens"], row.metrics["output_tokens"], row.metrics["cached_tokens"]) == (384, 48, 128)
    assert row.metrics["decode_count"] == 4
    assert row.metrics["decode_s"] >= 4 * 12 * 0.004
    assert (row.watts, row.joules, row.power_source) == (None, None, None)


def test_the_same_span_is_the_same_tokens_and_no_other() -> None:
    engine = Engine()
    engine.server_close()
    known = endpoint(engine)
    prompts = Prompts(known, 7)
    long = prompts.prompt((Span(3, 0, 3000),))
    assert long[1000:2000] == prompts.prompt((Span(3, 1000, 1000),)) == Prompts(known, 7).prompt((Span(3, 1000, 600), Span(3, 1600, 400)))
    assert long != prompts.prompt((Span(4, 0, 3000),))
    assert long != Prompts(known, 8).prompt((Span(3, 0, 3000),)), "another run hits nothing of this one"
    assert min(long) >= 1000
    assert max(long) < 4000


def test_waits_count_from_the_end_of_the_turn_before() -> None:
    rows, _ = play(Engine(), cell(turns=2, wait_s=0.05))
    assert rows[1].sent_s - rows[0].end_s >= 0.05


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "HTTP 500: it broke for Bearer [key]"),
        ("garbage", "what came is not HTTP"),
        ("events", "of the stream's events are no JSON"),
        ("early", "closed early"),
        ("short", "5 output tokens where 8 were asked for"),
        ("long", "10 output tokens where 8 were asked for"),
        ("error", "an error in the stream: out of memory"),
        ("miscount", "the server counted 71 prompt tokens where 64 were sent"),
        ("stall", "no byte came for 0.3 s"),
        ("redirect", "a redirect, which is not followed"),
    ],
)
def test_a_request_that_went_wrong_says_how_and_counts_as_failed(fault: str, reason: str) -> None:
    engine = Engine({1: fault})
    rows, row = play(engine, cell(sessions=3), key=KEY, stall_s=0.3 if fault == "stall" else 20.0)
    assert [r.error is None for r in rows] == [True, False, True]
    assert reason in (rows[1].error or "")
    assert (row.requests, row.failed, rows[1].retries) == (3, 1, 0)
    assert len(engine.requests) == 3, "nothing is sent twice"
    kept = "".join(request_line(r, 0.0) for r in rows) + cell_line(row)
    assert KEY not in kept
    assert f"Bearer {KEY}" in engine.keys


def test_a_connection_that_is_reset_is_tried_once_more() -> None:
    rows, row = play(Engine({1: "reset"}), cell(sessions=3))
    assert [(r.error, r.retries) for r in rows] == [(None, 0), (None, 1), (None, 0)]
    assert row.failed == 0
    rows, row = play(Engine({1: "reset", 2: "reset"}), cell(sessions=3))
    assert [(r.error, r.retries) for r in rows] == [(None, 0), ("the connection was reset", 1), (None, 0)]


def test_an_endpoint_that_died() -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        play(Engine({1: "die"}), cell(sessions=3))


def test_a_429_is_waited_out_within_bounds() -> None:
    rows, _ = play(Engine({0: "429 0", 1: "429 0.05"}), cell())
    assert (rows[0].error, rows[0].retries) == (None, 2)
    rows, _ = play(Engine(dict.fromkeys(range(4), "429 0")), cell())
    assert (rows[0].error, rows[0].retries) == ("HTTP 429: slow down", 3)
    assert [wait_s(text, 1) for text in ("3", "", "1e9", "-5", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "soon")] == [3, 2, 30, 0, 1, 0, 2]


def test_a_burst_is_seen_and_gives_no_speed() -> None:
    rows, _ = play(Engine({0: "burst"}), cell(output=12))
    assert (rows[0].coalesced, rows[0].tpot_s, rows[0].error) == (True, None, None)
    assert rows[0].ttft_s is not None


def test_a_restart_is_told_and_counts_nothing() -> None:
    engine = Engine({0: "restart"})
    engine.ended, engine.tokens = 50, {"prompt": 900, "output": 90, "cached": 9}
    _, row = play(engine, cell())
    assert row.metrics == {}
    assert "restarted" in row.notes[0]


def test_somebody_else_is_noticed() -> None:
    engine = Engine()
    rise = engine.hits

    def busy(prompt: Any) -> int:
        engine.ended += 1
        return rise(prompt)

    engine.hits = busy  # type: ignore[method-assign]
    _, row = play(engine, cell())
    assert row.notes == ("the server counted 2 requests where 1 were sent: somebody else uses it",)


def test_llama_cpp_gives_clocks_with_each_answer() -> None:
    rows, row = play(Engine(dialect="llamacpp", usage=False, running_usage=False), cell(turns=2), stream_usage=False)
    assert [(r.prompt_tokens, r.cached_tokens, r.output_tokens) for r in rows] == [(64, 0, 8), (128, 64, 8)]
    assert [(r.server_prefill_s, r.server_decode_s) for r in rows] == [(0.0125, 0.08)] * 2
    rows, _ = play(Engine(dialect="llamacpp", running_usage=False), cell(turns=2))
    assert [(r.chunks, r.output_tokens, r.coalesced) for r in rows] == [(8, 8, False)] * 2, "the event that counts carries no token"
    assert (row.metrics["prefilled_tokens"], row.metrics["output_tokens"]) == (128, 16)
    assert "prefill_count" not in row.metrics


def test_without_counts_the_limit_that_ended_an_answer_counts() -> None:
    rows, row = play(Engine(usage=False, running_usage=False, dialect="none"), cell(), stream_usage=False, dialect="none")
    assert (rows[0].output_tokens, rows[0].prompt_tokens, rows[0].cached_tokens, rows[0].error) == (8, None, None, None)
    assert (row.metrics, row.gauges, row.notes) == ({}, {}, ())


def test_the_clock_on_the_wall_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**9, 0, -(10**4)))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    rows, _ = play(Engine(), cell(turns=3))
    assert all(0 < r.end_s - r.sent_s < 5 and r.error is None for r in rows)


def test_rows_come_back_from_their_files_as_they_were() -> None:
    rows, row = play(Engine({1: "short"}), cell(sessions=2))
    text = "".join(request_line(r, 1000.0) for r in rows)
    assert read_requests(text) == rows
    assert read_requests(text + '{"row": {"cell"') == rows, "a line that was cut off by a kill"
    assert read_cells(cell_line(row) + '{"ce') == [row]
