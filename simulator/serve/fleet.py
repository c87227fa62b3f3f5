"""The reference engine with calls that come from outside, one instant after another. Inputs are a `Fleet` and the calls as they come.

Nothing is scheduled here: queues, batches, blocks and steps are `simulator.engine.reference`'s own. What this adds is a way in (`arrive`),
a way out before the end (`abort`), and what happened at each instant (`advance`).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.engine.reference import AGENT_ACTS, Process, Simulation
from simulator.engine.reference_rank import Call, Rank
from simulator.engine.world import (
    EVENT_FIRST,
    EVENT_LAST,
    EVENT_PREEMPT,
    ROUTER_AFFINITY,
    ROUTER_WORKER_AFFINITY,
    VISIBLE_SCHEDULED,
    Fleet,
    Stop,
    World,
)
from simulator.units import PS_PER_S
from simulator.workload.arrays import Calls, PrefixTree, single_threads

SESSION_IDLE_PS = 3600 * PS_PER_S
"""A session of which nothing came for so long has ended."""

LANDING_WAIT_PS = PS_PER_S // 1000
"""How often an abort looks whether KV that is on its way has landed."""

NONE = np.zeros(0, np.int64)
NO_LOAD = (
    Calls(np.zeros(2, np.int64), NONE, NONE, NONE, NONE, NONE, NONE, NONE),
    single_threads(np.zeros(2, np.int64)),
    PrefixTree(NONE, NONE, NONE, NONE),
)


@dataclass(eq=False)
class OutsideCall(Call):
    """A call that somebody else sends. ``gains`` are the tokens it has after each of its decode steps; empty: one more each."""

    session: Hashable = None
    gains: NDArray[np.int64] = field(default_factory=lambda: NONE)
    emitted: int = 0
    emitted_ps: int = -1
    """Tokens that were told in `Instant`s, and when the last of them was."""

    @property
    def output_so_far(self) -> int:
        """Tokens that are out."""
        if self.last_ps >= 0:
            return self.output_tokens
        if self.first_ps < 0:
            return 0
        steps = self.decode_steps - self.steps_left + self.steps_done
        return 1 + (int(self.gains[steps - 1]) if len(self.gains) and steps else steps)


class Gain(NamedTuple):
    """A call has emitted ``tokens``, ``gap_ps`` after its last ones (-1: they are its first)."""

    call: OutsideCall
    tokens: int
    gap_ps: int


class Instant(NamedTuple):
    """What happened at one time.

    Attributes
    ----------
    time_ps : int
    events : list of tuple
        Rows of `EVENT_COLUMNS`; their lane is the call's.
    ended : list of tuple
        Rows of `CALL_COLUMNS`: the calls that emitted their last token.
    gained : list of Gain
        The calls that emitted tokens.
    """

    time_ps: int
    events: list[tuple[int, ...]]
    ended: list[tuple[int, ...]]
    gained: list[Gain]


@dataclass
class Session:
    """A conversation: where its calls go, when the last one came, and where its last prompt's blocks end."""

    homes: list[Rank]
    seen_ps: int
    tail: Hashable = None


class ServedFleet(Simulation):
    """A fleet whose calls come from outside. Each has a lane of its own, which orders those of one instant."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(World(*NO_LOAD, fleet._replace(start_ps=NONE, order=NONE), Stop(0, 0, 0, 0, 0, 0)))
        self.live: dict[int, OutsideCall] = {}
        self.step_ends_ps = [0] * len(self.workers)
        self.sessions: OrderedDict[Hashable, Session] = OrderedDict()
        self.session_after: dict[Hashable, Hashable] = {}
        """By the key of its last prompt's last full block: the session that a longer prompt continues."""
        by_home = {ROUTER_AFFINITY, ROUTER_WORKER_AFFINITY}
        self.by_session = fleet.router in by_home or (fleet.disaggregated and fleet.decode_router in by_home)
        for worker in range(len(self.workers)):
            self.env.process(self.worker(worker))

    def count_play(self, call: Call) -> None:
        """Nobody plays trajectories here."""

    def book_step(self, ranks: list[Rank]) -> int:
        duration_ps = super().book_step(ranks)
        self.step_ends_ps[ranks[0].worker] = self.now + duration_ps
        return duration_ps

    # --------------------------------------------------------------------------------------------------------------- time

    @property
    def next_ps(self) -> float:
        """When something happens next; infinite when nothing will by itself."""
        return self.env.peek()

    def advance(self, until_ps: int) -> Iterator[Instant]:
        """Let pass what happens up to a time, instant by instant."""
        while (time_ps := self.next_ps) <= until_ps:
            ending = [worker for worker, ends_ps in enumerate(self.step_ends_ps) if ends_ps == time_ps]
            while self.next_ps == time_ps:
                self.env.step()
            events, self.events = self.events, []
            ended, self.calls = self.calls, []
            yield Instant(self.now, events, ended, self._gained(ending, events))

    def _gained(self, ending: list[int], events: list[tuple[int, ...]]) -> list[Gain]:
        """Who emitted tokens: what runs where a step has just ended, and who began, ended or gave way."""
        lanes = [row[4] for row in events if row[1] in (EVENT_FIRST, EVENT_LAST, EVENT_PREEMPT)]
        calls = [call for worker in ending for rank in self.workers[worker] for call in rank.running]
        gained = []
        for call in [*calls, *(self.live[lane] for lane in lanes if lane in self.live)]:
            assert isinstance(call, OutsideCall), "all calls come from outside"
            tokens = call.output_so_far - call.emitted
            if tokens:
                gained.append(Gain(call, tokens, self.now - call.emitted_ps if call.emitted else -1))
                call.emitted, call.emitted_ps = call.emitted + tokens, self.now
            if call.last_ps >= 0:
                self.live.pop(call.lane, None)
        return gained

    # ------------------------------------------------------------------------------------------------------------- arrivals

    def arrive(self, call: OutsideCall, time_ps: int) -> None:
        """A call comes at a time that has not passed."""
        self._when(time_ps, call, self._take_in)

    def _when(self, time_ps: int, call: OutsideCall, act: Callable[[OutsideCall], None]) -> None:
        """Do something about a call at a time, as if its agent did."""
        event = self.at(time_ps, AGENT_ACTS, call.lane)
        assert event.callbacks is not None, "what is to come has not been processed"
        event.callbacks.append(lambda _: act(call))

    def _take_in(self, call: OutsideCall) -> None:
        self.live[call.lane] = call
        call.homes = self._session(call).homes
        self.submit(call)

    def _session(self, call: OutsideCall) -> Session:
        """The session of a call: the one it names, else the one whose last prompt it extends, else a new one."""
        fleet = self.world.fleet
        if not self.by_session:
            return Session([self.entries[0], *self.decoders[:1]], self.now)  # no router asks where it is at home
        self._end_idle_sessions()
        prompt = call.keys[: call.prompt_tokens // fleet.block_tokens]
        name = call.session
        if name is None:
            name = next((self.session_after[key] for key in reversed(prompt) if key in self.session_after), ("call", call.lane))
        session = self.sessions.pop(name, None)
        if session is None:
            homes = [self.bind(self.entries, fleet.router)]
            homes += [self.bind(self.decoders, fleet.decode_router)] if fleet.disaggregated else []
            session = Session(homes, self.now)
        self.session_after.pop(session.tail, None)
        session.seen_ps, session.tail = self.now, prompt[-1] if prompt else None
        if prompt:
            self.session_after[prompt[-1]] = name
        self.sessions[name] = session
        return session

    def _end_idle_sessions(self) -> None:
        while self.sessions and next(iter(self.sessions.values())).seen_ps < self.now - SESSION_IDLE_PS:
            self.end_session(next(iter(self.sessions)))

    def end_session(self, name: Hashable) -> None:
        """Nothing more comes of a session: its ranks can take others in its place."""
        session = self.sessions.pop(name)
        self.session_after.pop(session.tail, None)
        for home in session.homes:
            home.plays -= 1

    # ---------------------------------------------------------------------------------------------------------------- aborts

    def abort(self, call: OutsideCall, time_ps: int) -> None:
        """Nobody waits for a call any more: from the end of the step that is under way it holds no seat and no blocks."""
        self._when(time_ps, call, self._give_up)

    def _give_up(self, call: OutsideCall) -> None:
        self.env.process(self._aborting(call))

    def _aborting(self, call: OutsideCall) -> Process:
        while call.last_ps < 0:
            rank = call.hold.rank if call.hold else call.entry
            ends_ps = self.step_ends_ps[rank.worker]
            if ends_ps > self.now:
                yield self.at(ends_ps, AGENT_ACTS, call.lane)
            elif self._dropped(call):
                return
            else:
                yield self.at(self.now + LANDING_WAIT_PS, AGENT_ACTS, call.lane)

    def _dropped(self, call: OutsideCall) -> bool:
        """Take a call out, between two steps; False while its KV is on the way."""
        queue = next((rank for rank in self.ranks if call in rank.waiting), None)
        seat = next((rank for rank in self.ranks if call in rank.running), None)
        if queue is not None:
            queue.waiting.remove(call)
            if call.state == "prefilled":
                call.held.rank.pinned.remove(call)
                call.held.rank.give_back(call.held)
        elif seat is not None:
            computed = call.computed if call.state == "prefill" else call.prompt_tokens + call.output_so_far - 1
            seat.vacate(call, computed if seat.sched.visible == VISIBLE_SCHEDULED else 0)
        else:
            return False
        if call.ahead:
            call.ahead.rank.unclaim(call)
        self.live.pop(call.lane, None)
        self.issued -= 1
        for rank in self.ranks:
            if rank in (queue, seat) or (call.hold and call.hold.rank is rank):
                self.stir(rank.worker)
                if rank in self.decoders:
                    self.try_claims(rank)
        return True
