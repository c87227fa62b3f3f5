"""Processor time per piece of a streamed answer: the probe's connection beside httpx, on loopback, eight streams at once.

``python -m benchmarks.bench_probe`` prints microseconds per piece for each; the server is a process of its own and is not counted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from multiprocessing import Process

import httpx

from simulator.probe.client import Client
from simulator.wire.address import address_of

PORT, PIECES, LANES, REQUESTS = 8765, 200, 8, 15
URL = f"http://127.0.0.1:{PORT}"
BODY = b'{"prompt": [' + b"1234, " * 2000 + b"0]}"
PIECE = b'data: {"id":"cmpl-1","choices":[{"index":0,"text":" hello","finish_reason":null}],"usage":{"completion_tokens":17}}\n\n'


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Streams pieces half a millisecond apart, for each request."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(PIECES):
                writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
                await asyncio.sleep(0.0005)
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve() -> None:
    async def served() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", PORT) as server:
            await server.serve_forever()

    asyncio.run(served())


async def by_probe() -> None:
    client = Client(address_of(URL, "bench", "URL"), "", time.perf_counter)

    async def lane() -> None:
        for _ in range(REQUESTS):
            await client.post("/", BODY)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    client.close()


async def by_httpx() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def lane() -> None:
            for _ in range(REQUESTS):
                async with client.stream("POST", URL, content=BODY) as response:
                    async for _ in response.aiter_raw():
                        pass

        await asyncio.gather(*(lane() for _ in range(LANES)))


def measured(name: str, play: Callable[[], Awaitable[None]]) -> None:
    began = time.process_time()
    asyncio.run(play())  # type: ignore[arg-type]
    print(f"{name}: {1e6 * (time.process_time() - began) / (PIECES * LANES * REQUESTS):.0f} µs per piece")


def main() -> None:
    server = Process(target=serve, daemon=True)
    server.start()
    time.sleep(1.0)
    try:
        for name, play in (("probe", by_probe), ("httpx", by_httpx)):
            measured(name, play)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
