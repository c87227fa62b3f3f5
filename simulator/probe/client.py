"""A client of one endpoint: keeps connections open, sends the key, retries by one rule. Inputs are an address, a key, and requests.

Only the host of the address is contacted: redirects are not followed, and proxies of the environment are not used. A request is sent once
more when its connection was reset before a byte of an answer came (some servers reset connections they had kept open), and up to
`MOST_WAITS` times more after a 429, as late as the server asks, within `MOST_WAIT_S`. Each exchange says how often.
"""

import asyncio
import json
import os
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from time import time

import h11

from simulator.probe.connection import Connection, Exchange
from simulator.wire.address import Address
from simulator.wire.tls import trusting

CONNECT_S = 15.0
MOST_WAITS, MOST_WAIT_S = 3, 30.0
KEEP_MESSAGE = 200


class Unreachable(Exception):  # noqa: N818
    """No connection to the endpoint; the message says why, in words."""


class Client:
    """A client of one endpoint.

    Parameters
    ----------
    address : Address
    key : str
        Sent with each request; empty for none. It is in no message and no representation of this object.
    clock : callable
        Monotonic seconds.
    stall_s : float
        How long an answer may be silent.
    scheme : str
        How the key is sent: ``Bearer``, or ``Basic`` for a name and password that are coded already.
    """

    def __init__(self, address: Address, key: str, clock: Callable[[], float], stall_s: float = 120.0, scheme: str = "Bearer") -> None:
        self.address, self.clock, self.stall_s = address, clock, stall_s
        self._key = key
        self._idle: list[Connection] = []
        self._tls = trusting() if address.scheme == "https" else None
        self._port = address.port or (443 if address.scheme == "https" else 80)
        host = address.origin.partition("://")[2]
        self._headers = [("Host", host), ("User-Agent", "agentwatt"), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
        self._headers += [("Authorization", f"{scheme} {key}")] if key else []

    def __repr__(self) -> str:
        return f"Client({self.address.origin})"

    async def get(self, path: str) -> Exchange:
        """What a path of the host holds."""
        return await self._ask("GET", path, b"")

    async def post(self, path: str, body: bytes) -> Exchange:
        """The answer to a JSON body; waits and asks again after a 429."""
        waits = 0
        while True:
            exchange = await self._ask("POST", path, body)
            exchange.retries += waits
            if exchange.status != 429 or waits == MOST_WAITS:
                return exchange
            await asyncio.sleep(wait_s(exchange.headers.get("retry-after", ""), waits))
            waits += 1

    async def open(self, connections: int) -> None:
        """Sees to so many open connections, so that no request has to wait for one."""
        self._idle = [connection for connection in self._idle if connection.usable]
        for _ in range(connections - len(self._idle)):
            self._idle.append(await self._connect())

    def close(self) -> None:
        """Hangs up."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def message(self, exchange: Exchange) -> str:
        """What an answer that is no success says of itself, in one short line without the key."""
        if exchange.status in (401, 403):
            return f"HTTP {exchange.status}: the key is missing or not accepted"  # such answers like to repeat the key
        if 300 <= (exchange.status or 0) < 400:
            return f"HTTP {exchange.status}: a redirect, which is not followed; name the address that answers"
        return f"HTTP {exchange.status}: {self.plain(_said(exchange.content)) or 'no message'}"

    def plain(self, text: str) -> str:
        """A server's words, short, printable and without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return "".join(c if c.isprintable() else " " for c in text)[:KEEP_MESSAGE].strip()

    async def _ask(self, method: str, path: str, body: bytes) -> Exchange:
        headers = [*self._headers, *([("Content-Type", "application/json"), ("Content-Length", str(len(body)))] if body else [])]
        request = h11.Request(method=method, target=path, headers=headers)
        retries = 0
        while True:
            connection = await self._free(fresh=retries > 0)
            exchange = await connection.ask(request, body, self.stall_s)
            exchange.retries = retries
            if connection.usable:
                self._idle.append(connection)
            if exchange.error is None or exchange.status is not None or connection.bytes or retries or self._silent(exchange):
                return exchange
            retries += 1

    def _silent(self, exchange: Exchange) -> bool:
        return exchange.end_s - exchange.sent_s >= self.stall_s

    async def _free(self, fresh: bool) -> Connection:
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return await self._connect()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(lambda: Connection(self.clock), self.address.host, self._port, ssl=self._tls)
        try:
            _, connection = await asyncio.wait_for(opening, CONNECT_S)
        except TimeoutError:
            raise Unreachable(f"{self.address.origin} did not take a connection within {CONNECT_S:g} s") from None
        except ConnectionError as error:
            raise Unreachable(f"{self.address.origin} cannot be reached: {os.strerror(error.errno or 0).lower()}") from None
        except OSError as error:  # ssl.SSLError is one
            raise Unreachable(f"{self.address.origin} cannot be reached: {self.plain(error.strerror or str(error))}") from None
        return connection


def wait_s(retry_after: str, waits: int) -> float:
    """How long to wait after a 429: what its header says, in seconds or as a date, else 1, 2, 4 s; within bounds."""
    try:
        asked_s = float(retry_after)
    except ValueError:
        try:
            asked_s = parsedate_to_datetime(retry_after).timestamp() - time()
        except ValueError:
            asked_s = 2.0**waits
    return min(max(asked_s, 0.0), MOST_WAIT_S) if asked_s == asked_s else 1.0


def _said(content: bytes) -> str:
    """The message in an error's body: by the usual names, or the beginning of the body."""
    text = content[:4096].decode("utf-8", "replace")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else text
