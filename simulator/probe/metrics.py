"""What the server's own counters gain, and what its gauges show meanwhile. Inputs are pages that a client fetches.

Pages are kept as they came while a cell runs, and read after it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from simulator.probe.client import Client
from simulator.probe.dialects import DIALECTS, Dialect, counters_of, gauges_of
from simulator.probe.prometheus import read_samples

POLL_S = 1.0
SETTLE_S, SETTLED_S = 2.0, 0.05
"""How long, and how often, counters are waited for that lag behind the answers they count."""


@dataclass(frozen=True)
class Gain:
    """What counters gained; ``notes`` say what is odd about it."""

    values: dict[str, float]
    notes: tuple[str, ...] = ()


class Metrics:
    """The metrics page of an endpoint.

    Parameters
    ----------
    client : Client
    path : str
        Of the page.
    dialect : Dialect
    """

    def __init__(self, client: Client, path: str, dialect: Dialect) -> None:
        self.client, self.path, self.dialect = client, path, dialect
        self.pages: list[str] = []

    async def read(self) -> dict[str, float] | None:
        """The counters now; None when they cannot be had."""
        text = await self._page()
        return None if text is None else counters_of(self.dialect, read_samples(text, self.dialect.names))

    async def read_after(self, before: dict[str, float], requests: int) -> dict[str, float] | None:
        """The counters once they have counted so many requests more, or have stopped to move."""
        last, left = None, round(SETTLE_S / SETTLED_S)
        while True:
            now = await self.read()
            if now is None:
                return None
            counted = _counted(before, now)
            if _fell(before, now) or (counted is not None and counted >= requests) or (counted is None and now == last) or not left:
                return now
            last, left = now, left - 1
            await asyncio.sleep(SETTLED_S)

    async def poll(self) -> None:
        """Fetches page after page until it is cancelled."""
        self.pages.clear()
        await asyncio.sleep(POLL_S / 2)
        while True:
            text = await self._page()
            if text is not None:
                self.pages.append(text)
            await asyncio.sleep(POLL_S)

    def gauges(self) -> dict[str, float]:
        """Mean and maximum of what was polled."""
        seen = [gauges_of(self.dialect, read_samples(text, self.dialect.names)) for text in self.pages]
        found: dict[str, float] = {}
        for name, shown, combine in _SHOWN:
            values = [gauges[name] for gauges in seen if name in gauges]
            if values:
                found[shown] = combine(values)
        return found

    async def _page(self) -> str | None:
        exchange = await self.client.get(self.path)
        return exchange.content.decode("utf-8", "replace") if exchange.status == 200 and exchange.error is None else None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


_SHOWN: tuple[tuple[str, str, Callable[[list[float]], float]], ...] = (
    ("running", "running_mean", _mean), ("running", "running_max", max), ("waiting", "waiting_max", max), ("kv_use", "kv_use_max", max),
)  # fmt: skip


def gain(before: dict[str, float] | None, after: dict[str, float] | None, sent: int, ended: int) -> Gain:
    """What the counters gained over a cell: of the ``sent`` requests ``ended`` went well; whether the others are counted differs."""
    if before is None or after is None:
        return Gain({}, ("the server's metrics could not be read",))
    if _fell(before, after):
        return Gain({}, ("the server's counters went down: it restarted in this cell",))
    counted = _counted(before, after)
    odd: tuple[str, ...] = ()
    if counted is not None and counted > sent:
        odd = (f"the server counted {counted:g} requests where {sent} were sent: somebody else uses it",)
    elif counted is not None and counted < ended:
        odd = (f"the server counted {counted:g} requests of {ended} that it answered",)
    return Gain({name: value - before.get(name, 0.0) for name, value in after.items()}, odd)


def _fell(before: dict[str, float], after: dict[str, float]) -> bool:
    return any(after.get(name, 0.0) < value for name, value in before.items())


def _counted(before: dict[str, float], after: dict[str, float]) -> float | None:
    """Requests that ended in between, by the histogram that has one entry for each."""
    for name in ("decode_count", "ttft_count"):  # the first is counted when a request ends
        if name in after:
            return after[name] - before.get(name, 0.0)
    return None


def dialect_named(name: str) -> Dialect | None:
    """The dialect of an endpoint; None for ``none``."""
    return next((dialect for dialect in DIALECTS if dialect.name == name), None)
