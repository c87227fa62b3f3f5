"""The endpoint on a loopback socket: streams, errors, clients that hang up, are slow or send rubbish, and a machine that is too slow."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from simulator.engine import Fleet
from simulator.engine.world import CACHE_BLOCKS, ROUTER_LEAST_LOADED
from simulator.serve import http
from simulator.serve.app import App, listen
from simulator.serve.asked import Served
from simulator.serve.fleet import ServedFleet
from simulator.serve.metrics import Metrics
from simulator.serve.service import Service
from tests.theory.worlds import BLOCK, MS, SCHED, constant_law, pool_of

NONE = np.zeros(0, np.int64)


class Serving:
    """A running endpoint: steps of 2 ms, and what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        sched = SCHED._replace(max_seqs=8, prefix_cache=CACHE_BLOCKS)
        fleet = ServedFleet(Fleet((pool_of(constant_law(2 * MS), sched, blocks=2000),), BLOCK, ROUTER_LEAST_LOADED, NONE, NONE))
        self.service = Service(fleet, Metrics(fleet, "tiny", "gpu"), (1.0,), 1.0, self.said.append)
        self.app = App(self.service, Served("tiny", 100_000, 100), "0")
        self.port = 0
        self.writers: list[StreamWriter] = []

    def run(self, client: Callable[[Serving], Awaitable[None]]) -> None:
        """Serves while a client does its part."""

        async def both() -> None:
            ready = asyncio.Event()

            def take(port: int) -> None:
                self.port = port
                ready.set()

            server = asyncio.create_task(listen(self.app, "127.0.0.1", 0, take))
            await ready.wait()
            try:
                async with asyncio.timeout(20):
                    await client(self)
            finally:
                for writer in self.writers:
                    writer.transport.abort()
                server.cancel()
                await asyncio.gather(server, return_exceptions=True)
                await asyncio.sleep(0)

        asyncio.run(both())

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
        self.writers.append(writer)
        return reader, writer

    async def send(self, raw: bytes) -> bytes:
        """All that comes back until the server has closed."""
        reader, writer = await self.connect()
        writer.write(raw)
        found = await reader.read()
        writer.close()
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.005)

    @property
    def load(self) -> int:
        return self.service.fleet.ranks[0].load


def post(request: dict[str, Any] | bytes, path: str = "/v1/completions", *headers: str, close: bool = True) -> bytes:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    lines = [f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def split(answer: bytes) -> tuple[int, str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def test_whole_answers_on_one_connection() -> None:
    async def client(serving: Serving) -> None:
        reader, writer = await serving.connect()
        for cached in (0, 64):
            writer.write(post({"prompt": list(range(100)), "max_tokens": 4}, close=False))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = json.loads(await reader.readexactly(length))
            assert answer["choices"][0]["text"] == " lorem ipsum dolor sit"
            assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == cached
        writer.close()

    Serving().run(client)


def test_a_stream_comes_step_by_step() -> None:
    """No sooner than 39 steps of 2 ms after it was asked for, and spread over them: in one of a few tries, as a busy machine reads late."""
    spreads = []

    async def client(serving: Serving) -> None:
        reader, writer = await serving.connect()
        asked = time.monotonic()
        writer.write(post({"prompt": [1], "max_tokens": 40, "stream": True}))
        times = [time.monotonic() async for line in reader if line.startswith(b"data: {")]
        assert len(times) == 40
        assert times[-1] - asked >= 0.039 * 2
        spreads.append(times[-1] - times[0])
        writer.close()

    for _ in range(5):
        Serving().run(client)
        if spreads[-1] + 0.004 >= 0.039 * 2:
            return
    raise AssertionError(f"tokens came within {max(spreads):.3f} s of each other")


def test_bodies_in_chunks_and_old_clients() -> None:
    async def client(serving: Serving) -> None:
        chunked = (
            b'POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n8\r\n{"prompt\r\n7;x=y\r\n":"a b"\r\n'
        )
        status, _, body = split(await serving.send(chunked + b"1\r\n}\r\n0\r\n\r\n"))
        assert status == 200
        assert json.loads(body)["usage"]["prompt_tokens"] == 2
        old = post({"prompt": "a", "stream": True, "max_tokens": 2}).replace(b"HTTP/1.1", b"HTTP/1.0")
        status, head, body = split(await serving.send(old))
        assert status == 200
        assert "chunked" not in head
        assert body.endswith(b"data: [DONE]\n\n")
        status, _, body = split(await serving.send(post({"prompt": "a"}, "/v1/completions", "Expect: 100-continue")))
        assert status == 100
        assert split(body)[0] == 200

    Serving().run(client)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post(b"{"), 400),
        (post({"prompt": "a", "model": "other"}), 404),
        (post({"prompt": "a"}, "/v1/nothing"), 404),
        (b"GET /v1/completions HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{", 413),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: " + 5000 * b"9" + b"\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"\x16\x03\x01rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"x" * 70_000, 431),
    ],
)
def test_errors_are_told_in_openais_form(raw: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINGER_S", 0.05)

    async def client(serving: Serving) -> None:
        found, _, body = split(await serving.send(raw))
        assert found == status
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert serving.service.calls == 0

    Serving().run(client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_takes_its_call_with_it(stream: bool) -> None:
    async def client(serving: Serving) -> None:
        _, writer = await serving.connect()
        writer.write(post({"prompt": list(range(500)), "max_tokens": 50_000, "ignore_eos": True, "stream": stream}))
        rank = serving.service.fleet.ranks[0]
        await serving.until(lambda: serving.load == 1 and rank.used_blocks > 7)
        writer.close()
        await serving.until(lambda: serving.load == 0)
        assert rank.used_blocks == 0
        assert not serving.service.tickets
        text = split(await serving.send(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"))[2].decode()
        assert 'finished_reason="abort"} 1' in text

    Serving().run(client)


def test_a_client_that_does_not_read_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_UNREAD_BYTES", 1000)

    async def client(serving: Serving) -> None:
        _, writer = await serving.connect()
        writer.write(post({"prompt": [1], "max_tokens": 90_000, "ignore_eos": True, "stream": True}))
        await serving.until(lambda: serving.load == 1)
        (ticket,) = serving.service.tickets.values()
        for _ in range(40_000):  # as if the machine had been away: many steps at once
            ticket.outputs.append(1)
        ticket.fresh.set()
        await serving.until(lambda: serving.load == 0)
        writer.close()

    Serving().run(client)


def test_a_machine_that_is_too_slow_says_so() -> None:
    async def client(serving: Serving) -> None:
        reader, writer = await serving.connect()
        await asyncio.sleep(0.15)
        writer.write(post({"prompt": [1], "max_tokens": 100, "stream": True}))
        await reader.readuntil(b"data: ")
        assert not serving.said, "an idle server is not behind"
        time.sleep(0.15)
        await reader.read()
        assert "behind" in "".join(serving.said)
        own = serving.service.own_metrics()
        assert own["most_lag_seconds"][1] > 0.1
        histogram = serving.service.metrics.ranks[0].times["request_decode_time_seconds"]
        assert histogram.sum == pytest.approx(99 * 0.002), "simulated times stay right"
        writer.close()

    Serving().run(client)


def test_health_models_version() -> None:
    async def client(serving: Serving) -> None:
        for path, part in (("/health", b""), ("/version", b"agentwatt"), ("/v1/models", b'"tiny"'), ("/v1/models/tiny", b"100000")):
            status, _, body = split(await serving.send(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()))
            assert status == 200
            assert part in body
        assert split(await serving.send(b"HEAD /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n"))[2] == b""

    Serving().run(client)


def test_a_fault_of_the_fleet_ends_the_server_with_its_error() -> None:
    serving = Serving()

    def broken(*_: object) -> int:
        raise AssertionError("a law is broken")

    serving.service.fleet.book_step = broken  # type: ignore[assignment]

    async def client(serving: Serving) -> None:
        _, writer = await serving.connect()
        writer.write(post({"prompt": "a"}))
        assert serving.service.broken is not None
        with pytest.raises(AssertionError, match="a law is broken"):
            await asyncio.shield(serving.service.broken)
        writer.close()

    serving.run(client)
