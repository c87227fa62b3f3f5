"""A served fleet in real time: calls come in at the wall's time, and what happens is told as soon as its time has come. Inputs: requests.

One second of the wall is ``time_scale`` simulated seconds. What happens next is computed when the wall reaches it, never before, since a
call may still come; a machine that is too slow falls behind, which is measured (`lag_s`) and told, while the simulated times stay right.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import numpy as np

from simulator.serve.asked import Asked
from simulator.serve.fleet import Instant, OutsideCall, ServedFleet
from simulator.serve.keys import block_keys
from simulator.serve.metrics import Metrics
from simulator.serve.text import answer_ids
from simulator.units import PS_PER_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORK_S = 0.005
"""How long the fleet may compute before clients are looked after."""

TOLD_LAG_S, TOLD_EVERY_S = 0.1, 5.0
"""How far behind the wall is worth a word on stderr, and how often."""


class Ticket:
    """A call as its request sees it: how many tokens came out at which time."""

    def __init__(self, call: OutsideCall) -> None:
        self.call = call
        self.outputs: deque[int] = deque()
        self.fresh = asyncio.Event()

    async def read(self) -> AsyncIterator[list[int]]:
        """Tokens of each step since the last look, until the last one is out."""
        left = self.call.output_tokens
        while left:
            await self.fresh.wait()
            self.fresh.clear()
            came = list(self.outputs)
            self.outputs.clear()
            left -= sum(came)
            yield came


class Service:
    """The fleet, its clock and its metrics.

    Parameters
    ----------
    fleet : ServedFleet
    metrics : Metrics
    accept_pmf : tuple of float
        Probability that a decode step yields 1, 2, .. tokens.
    time_scale : float
        Simulated seconds per second.
    tell : callable
        Takes lines for the person who serves.
    """

    def __init__(
        self, fleet: ServedFleet, metrics: Metrics, accept_pmf: tuple[float, ...], time_scale: float, tell: Callable[[str], None]
    ) -> None:
        self.fleet, self.metrics, self.time_scale, self.tell = fleet, metrics, time_scale, tell
        self.lengths = accept_pmf
        self.draws = np.random.default_rng(0)
        self.tickets: dict[int, Ticket] = {}
        self.calls = 0
        self.began_s = time.monotonic()
        self.timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self.lag_s = self.most_lag_s = self.told_s = 0.0
        self.broken: asyncio.Future[None] | None = None

    def start(self) -> "asyncio.Future[None]":
        """Simulated time begins; returns what ends if the fleet breaks, with the error, a fault of this program."""
        for instant in self.fleet.advance(0):  # workers find that they have nothing to do
            self.deliver(instant)
        self.began_s, self.broken = time.monotonic(), asyncio.get_running_loop().create_future()
        return self.broken

    @property
    def now_ps(self) -> int:
        """Simulated time of the wall's clock."""
        return int((time.monotonic() - self.began_s) * self.time_scale * PS_PER_S)

    def wall_s(self, time_ps: float) -> float:
        """When a simulated time comes, by the wall's clock."""
        return self.began_s + time_ps / self.time_scale / PS_PER_S

    def ask(self, asked: Asked) -> Ticket:
        """A call comes, now."""
        content = asked.ids + answer_ids(asked.output_tokens - 1)
        steps, gains = self._steps(asked.output_tokens)
        call = OutsideCall(
            *(self.calls, 0, 0, 0, self.calls),
            prompt_tokens=len(asked.ids),
            output_tokens=asked.output_tokens,
            decode_steps=steps,
            stops=int(asked.stops),
            keys=block_keys(content, self.fleet.world.fleet.block_tokens),
            done=self.fleet.env.event(),
            homes=(),
            session=asked.session,
            gains=gains,
        )
        self.calls += 1
        ticket = self.tickets[call.lane] = Ticket(call)
        self.fleet.arrive(call, max(self.now_ps, self.fleet.now))
        self._set_timer()
        return ticket

    def _steps(self, output_tokens: int) -> "tuple[int, NDArray[np.int64]]":
        """Decode steps of an answer, and its tokens after each; with drafts their accepted lengths are drawn."""
        rest = output_tokens - 1
        if len(self.lengths) < 2:
            return rest, np.zeros(0, np.int64)
        drawn = self.draws.choice(np.arange(1, len(self.lengths) + 1), rest, p=self.lengths)
        gains = np.minimum(np.cumsum(drawn), rest)
        steps = int(np.searchsorted(gains, rest)) + 1 if rest else 0
        return steps, gains[:steps]

    def give_up(self, ticket: Ticket) -> None:
        """The request is gone: so is its call, unless it had ended."""
        call = ticket.call
        if self.tickets.pop(call.lane, None) is None:
            return
        self.metrics.abort((call.hold.rank if call.hold else self.fleet.entries[0]).index)
        self.fleet.abort(call, max(self.now_ps, self.fleet.now))
        self._set_timer()

    # ---------------------------------------------------------------------------------------------------------------- clock

    def _set_timer(self) -> None:
        """Wakes when the next thing happens."""
        if self.timer:
            self.timer.cancel()
        next_ps, loop = self.fleet.next_ps, asyncio.get_running_loop()
        if next_ps == float("inf"):
            self.timer = None
            return
        wait_s = self.wall_s(next_ps) - time.monotonic()
        self.timer = loop.call_later(wait_s, self._catch_up) if wait_s > 0 else loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Lets happen what is due, for a moment; then clients are looked after."""
        until_s = time.monotonic() + WORK_S
        self.lag_s = 0.0
        try:
            for instant in self.fleet.advance(self.now_ps):
                self.deliver(instant)
                self._note_lag(time.monotonic() - self.wall_s(instant.time_ps))
                if time.monotonic() > until_s:
                    break
        except Exception as error:
            if self.broken and not self.broken.done():
                self.broken.set_exception(error)
            return
        self._set_timer()

    def deliver(self, instant: Instant) -> None:
        """Tells metrics and requests what happened."""
        self.metrics.observe(instant)
        for call, tokens, _ in instant.gained:
            ticket = self.tickets.get(call.lane)
            if ticket:
                ticket.outputs.append(tokens)
                ticket.fresh.set()
            if call.last_ps >= 0:
                self.tickets.pop(call.lane, None)

    def _note_lag(self, lag_s: float) -> None:
        self.lag_s = max(self.lag_s, lag_s)
        self.most_lag_s = max(self.most_lag_s, lag_s)
        now_s = time.monotonic()
        if lag_s > TOLD_LAG_S and now_s - self.told_s > TOLD_EVERY_S:
            self.told_s = now_s
            late = f"this machine is {lag_s:.2f} s behind: tokens come late, while the times in the metrics stay right"
            self.tell(f"{late}; a smaller --time-scale or less load helps")

    def own_metrics(self) -> dict[str, tuple[str, float, str]]:
        """What is told about the server itself."""
        late_s = max(0.0, time.monotonic() - self.wall_s(self.fleet.next_ps))
        return {
            "time_scale": ("gauge", self.time_scale, "Simulated seconds per second."),
            "simulated_seconds_total": ("counter", self.now_ps / PS_PER_S, "Simulated time since the start."),
            "lag_seconds": ("gauge", max(self.lag_s, late_s), "How late on the wall's clock the last thing happened, or the next one is."),
            "most_lag_seconds": ("gauge", max(self.most_lag_s, late_s), "The largest lag since the start."),
        }
