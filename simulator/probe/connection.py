"""One HTTP/1.1 connection that stamps each piece of an answer as it arrives. Inputs are requests, and bytes of the network.

Bytes are stamped when the event loop reads them, before anything is parsed; httpx would stamp them after its own work, at
more processor time per piece (benchmarks/bench_probe.py). What a body means is read later, when nothing is being timed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

MOST_BYTES = 256 << 20


@dataclass
class Exchange:
    """A request and what came back.

    Attributes
    ----------
    sent_s, end_s : float
        When it was given to the network; when the answer, or the hope of one, ended.
    status : int or None
        None when no head of an answer came.
    body : list of (float, bytes)
        The pieces of the answer and when each came.
    error : str or None
        What broke the exchange, in words.
    retries : int
        How often it was sent before.
    """

    sent_s: float
    end_s: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: list[tuple[float, bytes]] = field(default_factory=list)
    error: str | None = None
    retries: int = 0

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(piece for _, piece in self.body)


class Connection(asyncio.Protocol):
    """A connection that carries one exchange after another.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.done: asyncio.Future[None] | None = None
        self.heard_s, self.bytes, self.used = 0.0, 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    @property
    def usable(self) -> bool:
        """Whether it can carry another exchange."""
        return self.transport is not None and not self.transport.is_closing() and self.http.our_state is h11.IDLE

    async def ask(self, request: h11.Request, body: bytes, stall_s: float) -> Exchange:
        """Sends a request and waits for the end of its answer, or until ``stall_s`` pass without a byte."""
        assert self.transport is not None
        sent = [self.http.send(request), *([self.http.send(h11.Data(data=body))] if body else []), self.http.send(h11.EndOfMessage())]
        self.done, self.bytes = asyncio.get_running_loop().create_future(), 0
        self.heard_s = self.clock()  # before the write: on loopback the server may answer before this process runs again
        self.transport.write(b"".join(part for part in sent if part))
        exchange = self.exchange = Exchange(self.heard_s, self.heard_s)
        self.used += 1
        try:
            await self._end(stall_s)
        except asyncio.CancelledError:
            self.transport.abort()
            raise
        self.exchange = None
        return exchange

    async def _end(self, stall_s: float) -> None:
        assert self.done is not None
        while not self.done.done():
            left_s = self.heard_s + stall_s - self.clock()
            if left_s <= 0:
                self._finish(f"no byte came for {stall_s:g} s (--timeout)")
                return
            await asyncio.wait({self.done}, timeout=left_s)

    def data_received(self, data: bytes) -> None:
        now_s = self.heard_s = self.clock()
        if self.exchange is None:
            self.close()  # nothing was asked
            return
        self.bytes += len(data)
        self._parse(data, now_s, "what came is not HTTP")

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)

    def _ended(self, error: Exception | None) -> None:
        if self.exchange is None or self.done is None or self.done.done():
            return
        early = "the connection was reset" if error is not None else "the answer was closed early"
        self._parse(b"", self.clock(), early)  # a body without a length ends here
        if not self.done.done():
            self._finish(early)

    def _parse(self, data: bytes, now_s: float, broken: str) -> None:
        assert self.exchange is not None
        try:
            self.http.receive_data(data)
            while True:
                event = self.http.next_event()
                if isinstance(event, h11.Data):
                    self.exchange.body.append((now_s, bytes(event.data)))
                elif isinstance(event, h11.Response):
                    self.exchange.status = event.status_code
                    self.exchange.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                elif isinstance(event, h11.EndOfMessage):
                    self._finish(None)
                    return
                elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError:
            self._finish(broken)
        if self.bytes > MOST_BYTES:
            self._finish(f"an answer of more than {MOST_BYTES:,} bytes")

    def _finish(self, error: str | None) -> None:
        assert self.exchange is not None
        assert self.done is not None
        if self.done.done():
            return
        self.exchange.end_s, self.exchange.error = self.clock(), error
        self.done.set_result(None)
        if error is None and self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
        else:
            self.close()

    def close(self) -> None:
        """Hangs up."""
        if self.transport is not None:
            self.transport.abort()
