"""HTTP/1.1 on asyncio, as much of it as an endpoint needs: requests in, whole or chunked answers out. Inputs are connections.

Heads and bodies are held to limits of size and time. What a client sends while its answer is on the way is kept; that it hung up is seen.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from simulator.serve.refused import Refused
from simulator.units import whole_number

MOST_HEAD_BYTES = 64 << 10
MOST_BODY_BYTES = 64 << 20
HEAD_S, BODY_S, IDLE_S, LINGER_S = 30.0, 120.0, 600.0, 3.0
"""How long a head and a body may take, a connection may wait for its next request, and the rest of a refused one is read."""

MOST_UNREAD_BYTES = 4 << 20
"""A client that leaves so much of its answer unread is hung up on."""


class HungUp(Exception):  # noqa: N818
    """The client is gone, or too slow to be waited for."""


@dataclass(frozen=True)
class Request:
    """One request; header names are lower case."""

    method: str
    path: str
    version: str
    headers: dict[str, str]
    body: bytes


class Incoming:
    """The bytes of a connection."""

    def __init__(self, reader: StreamReader) -> None:
        self.reader = reader
        self.kept = bytearray()

    async def more(self) -> None:
        """Waits for bytes."""
        data = await self.reader.read(1 << 18)
        if not data:
            raise HungUp
        self.kept += data

    async def until(self, end: bytes, most: int) -> bytes:
        """Bytes up to ``end``, which is dropped."""
        searched = 0
        while (at := self.kept.find(end, searched)) < 0:
            if len(self.kept) > most:
                raise Refused(431, f"A head of more than {most:,} bytes.")
            searched = max(0, len(self.kept) - len(end) + 1)
            await self.more()
        found = bytes(self.kept[:at])
        del self.kept[: at + len(end)]
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self.kept) < count:
            await self.more()
        found = bytes(self.kept[:count])
        del self.kept[:count]
        return found

    async def hang_up(self) -> None:
        """Returns when the client has hung up."""
        while len(self.kept) <= MOST_HEAD_BYTES:
            try:
                await self.more()
            except (HungUp, OSError):
                return
        await asyncio.get_running_loop().create_future()


async def read_request(incoming: Incoming, writer: StreamWriter) -> Request:
    """The next request of a connection.

    Raises
    ------
    Refused, HungUp, TimeoutError
    """
    while not incoming.kept.lstrip(b"\r\n"):
        incoming.kept.clear()
        async with asyncio.timeout(IDLE_S):
            await incoming.more()
    async with asyncio.timeout(HEAD_S):
        head = (await incoming.until(b"\r\n\r\n", MOST_HEAD_BYTES)).lstrip(b"\r\n").decode("latin-1")
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refused(400, "No HTTP/1.1 request.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(400, "A header without a name.")
        name = name.lower()
        if name == "content-length" and headers.get(name, value.strip()) != value.strip():
            raise Refused(400, "Two lengths of one body.")
        headers[name] = value.strip()
    async with asyncio.timeout(BODY_S):
        body = await _body(incoming, writer, headers)
    return Request(words[0], words[1].split("?", 1)[0], words[2], headers, body)


async def _body(incoming: Incoming, writer: StreamWriter, headers: dict[str, str]) -> bytes:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
    if coding is not None and (coding.lower() != "chunked" or "content-length" in headers):
        raise Refused(400, "A body has a length or comes in chunks.")
    count = whole_number(length)
    if count is None:
        raise Refused(400, "No length of a body.")
    if count > MOST_BODY_BYTES:
        raise too_large()
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await incoming.exactly(count) if coding is None else await _chunks(incoming)


async def _chunks(incoming: Incoming) -> bytes:
    body = bytearray()
    while True:
        size = (await incoming.until(b"\r\n", 1024)).split(b";", 1)[0].strip()
        try:
            count = int(size, 16)
        except ValueError:
            raise Refused(400, "No length of a chunk.") from None
        if count < 0 or len(body) + count > MOST_BODY_BYTES:
            raise too_large()
        if count == 0:
            while await incoming.until(b"\r\n", MOST_HEAD_BYTES):
                pass
            return bytes(body)
        body += await incoming.exactly(count)
        await incoming.exactly(2)


def too_large() -> Refused:
    return Refused(413, f"A body of more than {MOST_BODY_BYTES:,} bytes.")


class Reply:
    """The answer to one request."""

    def __init__(self, writer: StreamWriter, request: Request | None) -> None:
        self.writer, self.request = writer, request
        keep = request is not None and request.version != "HTTP/1.0" and request.headers.get("connection", "").lower() != "close"
        self.closing = not keep
        self.begun = False

    def whole(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """The answer in one piece."""
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **headers})
        if self.request is None or self.request.method != "HEAD":
            self.writer.write(body)

    def begin(self, kind: str) -> None:
        """The answer comes in pieces, to an HTTP/1.0 client until the connection ends."""
        framed = {} if self.closing and self.request and self.request.version == "HTTP/1.0" else {"Transfer-Encoding": "chunked"}
        self.framed = bool(framed)
        self._head(200, {"Content-Type": kind, "Cache-Control": "no-cache", **framed})

    def piece(self, data: bytes) -> None:
        transport = self.writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            raise HungUp
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self.framed else data)

    def end(self) -> None:
        if self.framed:
            self.writer.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.begun = True
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        lines += ["Connection: close"] if self.closing else []
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


Handler = Callable[[Request, Reply], Awaitable[None]]


async def converse(handler: Handler, reader: StreamReader, writer: StreamWriter) -> None:
    """One connection, request by request, until either side has enough. A handler whose client hangs up is cancelled."""
    incoming = Incoming(reader)
    try:
        while True:
            try:
                request = await read_request(incoming, writer)
            except Refused as refused:
                Reply(writer, None).whole(refused.status, refused.body)
                await _let_finish(incoming)
                break
            reply = Reply(writer, request)
            if not await _answered(handler, request, reply, incoming):
                writer.transport.abort()
                break
            async with asyncio.timeout(BODY_S):
                await writer.drain()
            if reply.closing:
                break
    except (HungUp, OSError, TimeoutError):
        writer.transport.abort()
    finally:
        writer.close()


async def _let_finish(incoming: Incoming) -> None:
    """Read on for a moment: a client that is still sending looks for its answer when it is done, and would lose it to a reset."""
    left = MOST_BODY_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                left -= len(incoming.kept)
                incoming.kept.clear()
                await incoming.more()
    except TimeoutError:
        pass


async def _answered(handler: Handler, request: Request, reply: Reply, incoming: Incoming) -> bool:
    """Whether a request was answered to its end."""
    work = asyncio.ensure_future(handler(request, reply))
    watch = asyncio.ensure_future(incoming.hang_up())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return False
        work.result()
        return True
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.gather(work, watch, return_exceptions=True)
