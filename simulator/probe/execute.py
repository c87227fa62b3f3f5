"""Plays one cell on an endpoint and says how it went. Inputs are a cell, a client and what a probe found out.

Before the first request all bodies are made, connections opened and the counters read; while the cell runs, only bytes are sent and
stamped; answers are read after its last one.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow, Turn
from simulator.probe.answer import Answer, read_answer
from simulator.probe.client import Client
from simulator.probe.connection import Exchange
from simulator.probe.metrics import Metrics, gain
from simulator.probe.power import NO_POWER, Power
from simulator.probe.prompts import Prompts

MOST_OFF = 0.02
"""Share by which the counted tokens of a prompt of words may differ from those asked; token ids must be counted exactly."""


@dataclass(frozen=True)
class Asked:
    """An exchange of a cell and where it belongs."""

    session: int
    turn: int
    exchange: Exchange


@dataclass(frozen=True)
class Setting:
    """What cells are played with.

    Attributes
    ----------
    endpoint : Endpoint
    client : Client
    clock : callable
        Seconds of the run.
    prompts : Prompts
    metrics : Metrics or None
    power : Power
    """

    endpoint: Endpoint
    client: Client
    clock: Callable[[], float]
    prompts: Prompts
    metrics: Metrics | None = None
    power: Power = NO_POWER


async def execute(cell: Cell, at: Setting) -> tuple[list[RequestRow], CellRow]:
    """Plays a cell.

    Raises
    ------
    Unreachable
        When the endpoint takes no connection any more.
    """
    bodies = at.prompts.bodies(cell)
    await at.client.open(min(cell.lanes, len(cell.sessions)) + (at.metrics is not None))
    before = await at.metrics.read() if at.metrics else None
    await at.power.begin()
    gc.disable()
    try:
        start_s = at.clock()
        asked = await _play(cell, bodies, at)
        end_s = at.clock()
    finally:
        gc.enable()
    watts = await at.power.end(start_s, end_s)
    rows = [request_row(cell, one, at) for one in sorted(asked, key=lambda one: (one.session, one.turn))]
    failed = sum(row.error is not None for row in rows)
    gained = None
    if at.metrics is not None:
        after = None if before is None else await at.metrics.read_after(before, len(rows) - failed)
        gained = gain(before, after, len(rows), len(rows) - failed)
    row = CellRow(
        cell.id, cell.kind, cell.repetition, cell.params, cell.lanes, start_s, end_s, len(rows), failed,
        gained.values if gained else {}, at.metrics.gauges() if at.metrics else {},
        watts.mean_w, watts.energy_j, watts.source, (gained.notes if gained else ()) + watts.notes,
    )  # fmt: skip
    return rows, row


async def _play(cell: Cell, bodies: list[list[bytes]], at: Setting) -> list[Asked]:
    """The lanes, beside what watches them."""
    path = str(at.endpoint.facts["path"])
    waiting, asked = deque(range(len(cell.sessions))), list[Asked]()

    async def lane() -> None:
        while waiting:
            session = waiting.popleft()
            for number, turn in enumerate(cell.sessions[session]):
                if turn.wait_s > 0:
                    await asyncio.sleep(turn.wait_s)
                asked.append(Asked(session, number, await at.client.post(path, bodies[session][number])))

    watchers = [asyncio.ensure_future(watch) for watch in ([at.metrics.poll()] if at.metrics else []) + [at.power.watch()]]
    lanes = [asyncio.ensure_future(lane()) for _ in range(min(cell.lanes, len(cell.sessions)))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for task in (*lanes, *watchers):
            task.cancel()
        await asyncio.gather(*lanes, *watchers, return_exceptions=True)
    return asked


def request_row(cell: Cell, one: Asked, at: Setting) -> RequestRow:
    """What an exchange says of its request."""
    turn = cell.sessions[one.session][one.turn]
    exchange = one.exchange
    answer = read_answer(exchange) if exchange.status == 200 else Answer()
    output = answer.counts.output
    if output is None and answer.finish == "length":
        output = turn.output_tokens  # the server counted up to the limit that it was given
    return RequestRow(
        cell.id, one.session, one.turn, turn.measured,
        exchange.sent_s,
        answer.times[0][0] if answer.times else None,
        answer.times[-1][0] if answer.times else None,
        exchange.end_s,
        turn.prompt_tokens, turn.output_tokens,
        answer.counts.prompt, answer.counts.cached, output,
        len(answer.times), answer.coalesced, answer.prefill_s, answer.decode_s,
        exchange.status, _failure(turn, exchange, answer, output, at), exchange.retries,
    )  # fmt: skip


def _failure(turn: Turn, exchange: Exchange, answer: Answer, output: int | None, at: Setting) -> str | None:
    """Why a request counts as failed; None for one that went as it should."""
    if exchange.status is not None and exchange.status != 200:
        return at.client.message(exchange)
    if exchange.error is not None:
        return exchange.error
    if answer.error is not None:
        return at.client.plain(answer.error)
    if not answer.times:
        return "an answer without tokens"
    if output is not None and output != turn.output_tokens:
        return f"{output} output tokens where {turn.output_tokens} were asked for"
    if output is None and answer.finish is None:
        return "the stream ended without a reason and without a count of tokens"
    if output is None:
        return f"the answer ended by {answer.finish!r}, and how many tokens it has is not known"
    return _prompt_failure(turn, answer.counts.prompt, at.endpoint)


def _prompt_failure(turn: Turn, counted: int | None, endpoint: Endpoint) -> str | None:
    expected = turn.prompt_tokens + int(endpoint.facts.get("frame_tokens", 0))
    allowed = 0 if endpoint.token_ids else max(2, round(MOST_OFF * expected))
    if counted is not None and abs(counted - expected) > allowed:
        return f"the server counted {counted} prompt tokens where {expected} were sent"
    return None
