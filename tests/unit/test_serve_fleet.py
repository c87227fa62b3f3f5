"""What is served is the simulated engine: calls that come from outside at a run's times go as they went in the run, to the picosecond."""

from array import array
from collections import Counter
from collections.abc import Hashable
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine import World
from simulator.engine.reference import Process, Simulation
from simulator.engine.reference_rank import Call
from simulator.engine.world import EVENT_RELEASE, EVENT_SEND
from simulator.serve.fleet import OutsideCall, ServedFleet, Session
from simulator.serve.keys import block_keys
from tests.oracle.worlds import worlds

LANE_BITS = 12
"""Calls of a lane that a served fleet, where each call has its own, can put in the lane's place."""


class Played(Simulation):
    """A run that remembers its calls in the order in which they were sent."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sent: list[Call] = []

    def submit(self, call: Call) -> None:
        super().submit(call)
        self.sent.append(call)


class Bound(ServedFleet):
    """A served fleet that sends calls home as a run did: which session a call belongs to is not the matter here."""

    homes: dict[int, list[int]]

    def _session(self, call: OutsideCall) -> Session:
        return Session([self.ranks[index] for index in self.homes[call.lane]], 0)


def token_ids(calls: list[Call], block: int) -> list["array[int]"]:
    """Prompt and answer of each call as token ids that are equal where the names of blocks are, and unlike anything else elsewhere."""
    fresh, content = count(1), dict[Hashable, list[int]]()
    found = []
    for call in calls:
        ids: list[int] = []
        for name in call.keys[: call.prompt_tokens // block]:
            ids += content.setdefault(name, [next(fresh) for _ in range(block)])
        ids += [next(fresh) for _ in range(call.prompt_tokens + call.output_tokens - 1 - len(ids))]
        for place in range(call.prompt_tokens // block, len(call.keys)):
            content[call.keys[place]] = ids[place * block : (place + 1) * block]
        found.append(array("q", ids))
    return found


def served(world: World, run: Played) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Events and ended calls of a served fleet to which the calls of a run come at their times."""
    fleet, calls = Bound(world.fleet), list[OutsideCall]()
    fleet.homes = {}
    last: dict[int, OutsideCall] = {}
    sent = zip(run.sent, token_ids(run.sent, world.fleet.block_tokens), strict=True)
    released: tuple[int, OutsideCall] | None = None
    for time_ps, kind, _, _, lane, *_ in run.events:
        if kind == EVENT_RELEASE:
            released = time_ps, last[lane]
        elif kind == EVENT_SEND:
            call, ids = next(sent)
            last[lane] = outside(fleet, call, ids, calls)
            if released and released[0] == time_ps:
                fleet.env.process(answering(fleet, released[1], last[lane]))
            else:
                fleet.arrive(last[lane], time_ps)
    instants = list(fleet.advance(min(run.now, world.stop.max_ps)))
    told = Counter[int]()
    for instant in instants:
        told.update({call.lane: tokens for call, tokens, _ in instant.gained})
    ended = [call for call in calls if call.last_ps >= 0]
    assert all(told[call.lane] == call.output_tokens for call in ended), "every token is told"
    return [row for instant in instants for row in instant.events], [row for instant in instants for row in instant.ended]


def outside(fleet: Bound, call: Call, ids: "array[int]", calls: list[OutsideCall]) -> OutsideCall:
    """A call of a run as one from outside, with a lane of its own and keys by its token ids."""
    lane = (call.lane << LANE_BITS) + sum(other.lane >> LANE_BITS == call.lane for other in calls)
    keys = block_keys(ids, fleet.world.fleet.block_tokens)
    assert len(keys) == len(call.keys)
    fleet.homes[lane] = [rank.index for rank in call.homes]
    sizes = call.prompt_tokens, call.output_tokens, call.decode_steps, call.stops
    calls.append(OutsideCall(lane, call.agent, call.play, call.trajectory, call.number, *sizes, keys, fleet.env.event(), ()))
    return calls[-1]


def answering(fleet: Bound, before: OutsideCall, call: OutsideCall) -> Process:
    """A client that sends at the instant in which it sees another call released, which may be as late as when the next step is chosen."""
    yield before.done
    fleet.arrive(call, fleet.now)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds())
def test_calls_from_outside_go_as_they_went_in_the_run(world: World) -> None:
    run = Played(world)
    run.run(verify=False)
    events, ended = served(world, run)
    of_lane = [(*row[:4], row[4] >> LANE_BITS if row[4] >= 0 else -1, *row[5:]) for row in events]
    assert of_lane[: len(run.events)] == run.events
    assert [without_thread(row) for row in ended] == [without_thread(row) for row in run.calls]


def without_thread(row: tuple[int, ...]) -> tuple[int, ...]:
    """A row of ended calls; a served fleet knows no threads."""
    return row[:1] + row[2:]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(worlds(), st.lists(st.integers(0, 600), min_size=1, max_size=8))
def test_calls_that_are_given_up_leave_nothing_behind(world: World, waits_ms: list[int]) -> None:
    run = Played(world)
    run.run(verify=False)
    fleet, calls = Bound(world.fleet), list[OutsideCall]()
    fleet.homes = {}
    given_up = set()
    for place, (call, ids) in enumerate(zip(run.sent, token_ids(run.sent, world.fleet.block_tokens), strict=True)):
        own = outside(fleet, call, ids, calls)
        fleet.arrive(own, call.send_ps)
        if place % 2:
            fleet.abort(own, call.send_ps + waits_ms[place % len(waits_ms)] * 10**9)
            given_up.add(own.lane)
    ended = 0
    for instant in fleet.advance(10**18):
        ended += len(instant.ended)
        in_flight = {id(call): call for rank in fleet.ranks for call in [*rank.waiting, *rank.running, *rank.parked, *rank.pinned]}
        assert fleet.issued == ended + sum(call.last_ps < 0 for call in in_flight.values()), "issued = ended + in flight"
        for rank in fleet.ranks:
            fleet.verify_blocks(rank)
    assert not in_flight
    assert not fleet.live
    assert all(rank.pool.free == rank.pool.size for rank in fleet.ranks), "no block is held"
    assert all(call.last_ps >= 0 for call in calls if call.lane not in given_up), "who waits gets the whole answer"
