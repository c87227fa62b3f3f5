"""The engine to read: agents, workers, ranks and links as SimPy processes, one object per call, one step at a time. Inputs are a `World`.

This is the executable specification; `kernel` must write the same event log. A call's life: an agent *sends* it, a router picks a *rank*,
it *waits* there, is *admitted* when a seat, tokens and blocks are at hand, is *prefilled* in chunks, emits its *first* token, *decodes* one
step at a time, perhaps is *preempted* and computed again, emits its *last* token and is *released*; then its tool runs and the agent goes
on. In a fleet of prefill and decode pools it *claims* a decode seat between prefill and decode (or before both), and its KV *moves* and
*lands*. `verify` checks the invariants after every event. What a rank does is in `reference_rank`.
"""

from collections.abc import Generator, Hashable, Sequence
from typing import Any

import numpy as np
import simpy

from simulator.engine.bounds import refuse_beyond_64_bits
from simulator.engine.reference_rank import Call, Rank
from simulator.engine.world import (
    CALL_COLUMNS,
    EVENT_COLUMNS,
    EVENT_LAND,
    EVENT_LOAD,
    EVENT_MOVE,
    EVENT_SEND,
    EVENT_STEP,
    ROLE_DECODE,
    ROLE_PREFILL,
    ROUTER_AFFINITY,
    ROUTER_LEAST_LOADED,
    ROUTER_PREFIX,
    ROUTER_ROUND_ROBIN,
    ROUTER_WORKER_AFFINITY,
    SERIES_BINS,
    SERIES_COLUMNS,
    TOTAL_COLUMNS,
    Output,
    World,
    play_stride,
)
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_ALL, SCOPE_TRAJECTORY

STEP_ENDS, AGENT_ACTS, RANK_CLAIMS, RUN_HALTS, STEP_BEGINS, TIME_IS_UP = range(1, 7)
"""What goes first when several things happen at one instant; equals go by worker, lane (sends and landings) or rank."""

Process = Generator[simpy.Event, Any, Any]


class Simulation:
    """One world in motion."""

    def __init__(self, world: World) -> None:
        fleet = world.fleet
        self.world = world
        self.env = simpy.Environment()
        self.width = world.threads.width
        self.workers: list[list[Rank]] = []
        for number, pool in enumerate(fleet.pools):
            for _ in range(pool.workers):
                first, worker = sum(map(len, self.workers)), len(self.workers)
                self.workers.append([Rank(self, number, worker, i, first + i) for i in range(pool.ranks)])
        self.ranks = [rank for ranks in self.workers for rank in ranks]
        self.entries = [rank for rank in self.ranks if rank.kind.role != ROLE_DECODE]
        self.decoders = [rank for rank in self.ranks if rank.kind.role == ROLE_DECODE]
        self.port_free_ps = [0] * len(self.ranks)
        self.wake: list[simpy.Event] = [self.env.event() for _ in self.workers]
        self.claiming: set[int] = set()
        self.halted = False
        self.turn = self.decode_turn = self.issued = self.started = self.plays = self.slot_uses = 0
        self.sent_tokens = self.landed_tokens = 0
        self.calls_left = [0] * len(fleet.start_ps)
        self.finished_plays = [0] * len(fleet.start_ps)
        self.active = len(fleet.start_ps)
        self.events: list[tuple[int, ...]] = []
        self.calls: list[tuple[int, ...]] = []
        self.series: list[dict[int, dict[str, int]]] = [{} for _ in fleet.pools]
        self.bin_ps = PS_PER_S
        self.totals = [dict.fromkeys(TOTAL_COLUMNS, 0) for _ in fleet.pools]

    @property
    def now(self) -> int:
        return int(self.env.now)

    def at(self, time_ps: int, phase: int, number: int) -> simpy.Event:
        """An event at a time, ordered among those of the same instant by phase, then by number."""
        event = self.env.event()
        event._ok, event._value = True, None
        self.env.schedule(event, priority=(phase << 32) | number, delay=time_ps - self.now)  # type: ignore[arg-type]
        return event

    # ---------------------------------------------------------------------------------------------------------- processes

    def agent(self, agent: int) -> Process:
        """Play one trajectory after another."""
        world, fleet = self.world, self.world.fleet
        wake_ps = int(fleet.start_ps[agent])
        play = 0
        while True:
            turn = agent + play * play_stride(len(fleet.order))
            if world.stop.max_plays > 0:
                yield self.at(wake_ps, AGENT_ACTS, agent * self.width)
                turn, self.started = self.started, self.started + 1
                if turn >= world.stop.max_plays:
                    self.active -= 1
                    return
            trajectory = int(fleet.order[turn % len(fleet.order)])
            first = world.calls.first
            self.calls_left[agent] = int(first[trajectory + 1] - first[trajectory])
            wake_ps = yield self.env.process(self.thread(agent, play, trajectory, 0, wake_ps))
            play += 1
            if 0 < world.stop.max_plays_per_agent <= play:
                self.active -= 1
                return

    def thread(self, agent: int, play: int, trajectory: int, thread: int, wake_ps: int) -> Process:
        """The calls of one thread, one after another; the sub-agents that a call spawns are joined before its tool starts. Returns when
        the tool of the last call is done."""
        threads, fleet = self.world.threads, self.world.fleet
        lane, row = agent * self.width + thread, int(threads.first[trajectory]) + thread
        homes: list[Rank] = []  # at the entry, and for decoding
        for number in range(int(threads.call[row]), int(threads.call[row + 1])):
            yield self.at(wake_ps, AGENT_ACTS, lane)
            if not homes:
                homes = [self.bind(self.entries, fleet.router)]
                homes += [self.bind(self.decoders, fleet.decode_router)] if fleet.disaggregated else []
            call = self.send(lane, agent, play, trajectory, number, homes)
            yield call.done
            ended_ps = call.last_ps
            children = []
            for child in range(int(threads.child[number]), int(threads.child[number] + threads.children[number])):
                start_ps = max(self.now, ended_ps + int(threads.delay_ps[child]))
                children.append(self.env.process(self.thread(agent, play, trajectory, child - int(threads.first[trajectory]), start_ps)))
            for process in children:
                ready_ps = yield process
                ended_ps = max(ended_ps, ready_ps)
            wake_ps = max(self.now, ended_ps + int(self.world.calls.tool_ps[number]))
        for home in homes:
            home.plays -= 1
        return wake_ps

    def send(self, lane: int, agent: int, play: int, trajectory: int, number: int, homes: Sequence[Rank]) -> Call:
        """A thread sends a call: a row of the world's `Calls`."""
        calls = self.world.calls
        call = Call(
            *(lane, agent, play, trajectory, number - int(calls.first[trajectory])),
            prompt_tokens=int(calls.prompt_tokens[number]),
            output_tokens=int(calls.output_tokens[number]),
            decode_steps=int(calls.decode_steps[number]),
            stops=int(calls.stops[number]),
            keys=self.keys(agent, play, number),
            done=self.env.event(),
            homes=homes,
        )
        self.submit(call)
        return call

    def submit(self, call: Call) -> None:
        """A call comes in; a router finds its rank."""
        fleet = self.world.fleet
        self.issued += 1
        call.send_ps = self.now
        call.entry = self.route_entry(call.homes[0], call.keys[: (call.known - 1) // fleet.block_tokens])
        call.entry.log(EVENT_SEND, call.lane, call.trajectory, call.number, call.play)
        if fleet.prealloc and call.entry.kind.role == ROLE_PREFILL:
            call.state = "claiming"
            self.enqueue(call, self.route_decode(call))
        else:
            self.enqueue(call, call.entry)

    def enqueue(self, call: Call, rank: Rank) -> None:
        """A call joins the queue of a rank."""
        rank.waiting.append(call)
        self.stir(rank.worker)  # one that waits for a seat too: beside it the head's first chunk may be a shorter one, which fits
        if call.state != "waiting":
            self.try_claims(rank)

    def stir(self, worker: int) -> None:
        """Something happened at an idle worker."""
        if not self.wake[worker].triggered:
            self.wake[worker].succeed()

    def bind(self, ranks: Sequence[Rank], router: int) -> Rank:
        """The rank (or the first rank of the worker) to which a thread's calls shall go: the one with the fewest threads, the first of
        equals."""
        if router == ROUTER_WORKER_AFFINITY:
            ranks = [rank for rank in ranks if rank.number == 0]
        home = min(ranks, key=lambda rank: rank.plays)
        home.plays += 1
        return home

    def route_entry(self, home: Rank, keys: Sequence[Hashable]) -> Rank:
        """The rank for a new call."""
        if self.world.fleet.router == ROUTER_PREFIX:
            return self.best_prefix(keys)
        self.turn += 1
        return self.route(self.entries, self.world.fleet.router, home, self.turn - 1)

    def route_decode(self, call: Call) -> Rank:
        """The rank that will decode a call."""
        self.decode_turn += 1
        return self.route(self.decoders, self.world.fleet.decode_router, call.homes[1], self.decode_turn - 1)

    def route(self, ranks: Sequence[Rank], router: int, home: Rank, turn: int) -> Rank:
        """The thread's own rank, the least loaded of its worker, the next in turn, or the least loaded of all; the first of equals."""
        if router == ROUTER_AFFINITY:
            return home
        if router == ROUTER_ROUND_ROBIN:
            return ranks[turn % len(ranks)]
        if router == ROUTER_WORKER_AFFINITY:
            ranks = self.workers[home.worker]
        return min(ranks, key=lambda rank: rank.load)

    def best_prefix(self, keys: Sequence[Hashable]) -> Rank:
        """The rank that holds most of a prompt (the least loaded, then the first of equals), unless loads differ too much or it holds too
        little of it: then the least loaded."""
        fleet, loads = self.world.fleet, [rank.load for rank in self.entries]
        lightest = self.route(self.entries, ROUTER_LEAST_LOADED, self.entries[0], 0)
        if max(loads) - min(loads) > fleet.balance_calls and max(loads) * 1000 > fleet.balance_milli * min(loads):
            return lightest
        matched = [len(rank.pool.match(keys)) for rank in self.entries]
        if max(matched) * 1000 <= fleet.match_milli * len(keys):
            return lightest
        return min(self.entries, key=lambda rank: (-matched[self.entries.index(rank)], rank.load))

    def keys(self, agent: int, play: int, number: int) -> list[Hashable]:
        """Names of the blocks that a call fills: equal names mean equal content, and equal content before it."""
        calls, tree = self.world.calls, self.world.tree
        node, tokens = int(calls.leaf[number]), int(calls.prompt_tokens[number])
        if calls.answer[number] >= 0:
            node, tokens = int(calls.answer[number]), tokens + int(calls.output_tokens[number]) - 1
        end = tokens // self.world.fleet.block_tokens
        names: list[Hashable] = []
        while node >= 0:
            shared = tree.scope[node] in (SCOPE_TRAJECTORY, SCOPE_ALL)
            own = [(node, block) if shared else (agent, play, node, block) for block in range(tree.start[node], end)]
            names = own + names
            end = min(end, int(tree.start[node]))
            node = int(tree.parent[node])
        return names

    def worker(self, worker: int) -> Process:
        """Step as long as there is work: schedule all ranks, let the time pass, collect the tokens."""
        ranks, step = self.workers[worker], 0
        while True:
            yield self.at(self.now, STEP_BEGINS, worker)
            if not any(rank.can_work() for rank in ranks):
                self.wake[worker] = self.env.event()
                yield self.wake[worker]
                continue
            for rank in ranks:
                rank.schedule(step)
            if not any(rank.query_tokens or rank.preempted for rank in ranks):
                assert any(rank.parked_now for rank in ranks), "work conserving: a worker has calls but none can run"
                continue
            duration_ps = self.book_step(ranks)
            step += 1
            yield self.at(self.now + duration_ps, STEP_ENDS, worker)
            for rank in ranks:
                rank.finish_step()
                if rank.kind.role == ROLE_DECODE:
                    self.try_claims(rank)

    def try_claims(self, rank: Rank) -> None:
        """Let a decode rank look at its queue, once all that happens at this instant has happened."""
        if rank.index not in self.claiming:
            self.claiming.add(rank.index)
            self.env.process(self.claim(rank))

    def claim(self, rank: Rank) -> Process:
        yield self.at(self.now, RANK_CLAIMS, rank.index)
        self.claiming.remove(rank.index)
        rank.claim_waiting()

    def deadline(self) -> Process:
        yield self.at(self.world.stop.max_ps, TIME_IS_UP, 0)
        self.halted = True

    def halt(self) -> Process:
        yield self.at(self.now, RUN_HALTS, 0)
        self.halted = True

    # -------------------------------------------------------------------------------------------------------------- links

    def port(self, rank: Rank) -> int:
        """Number of the link port of a rank: its own, or that of its worker's first rank."""
        return rank.index - rank.number if rank.kind.shared_port else rank.index

    def move(self, call: Call, upto: int, last: bool) -> None:
        """Send the KV of a call's tokens up to ``upto`` to its decode rank, through both ports, first come, first served."""
        assert call.ahead is not None, "KV moves to where blocks were claimed"
        tokens = max(0, upto - call.moved)
        if tokens == 0 and not last:
            return
        source, target = call.held.rank, call.ahead.rank
        one, other = source.kind, target.kind
        ports = self.port(source), self.port(target)
        start_ps = max(self.now, *(self.port_free_ps[port] for port in ports))
        length_ps = max(one.port_token_fp, other.port_token_fp) * tokens >> 10
        length_ps += max(one.port_fixed_ps, other.port_fixed_ps) if last else 0
        for port in ports:
            self.port_free_ps[port] = start_ps + length_ps
        landing_ps = max(start_ps + length_ps + self.world.fleet.link_latency_ps, self.now + 1)
        call.moved += tokens
        call.moved_tokens += tokens
        self.sent_tokens += tokens
        for rank in (source, target):
            self.count(rank, "moved_tokens", tokens)
            self.count(rank, "moving_ns", length_ps // 1000)
        target.log(EVENT_MOVE, call.lane, tokens, start_ps, landing_ps)
        if last:
            call.state, call.moved_ps = "moving", start_ps
            self.env.process(self.land(call, landing_ps))

    def land(self, call: Call, landing_ps: int) -> Process:
        """The KV of a call is at its decode rank: its blocks at the prefill rank are free."""
        yield self.at(landing_ps, AGENT_ACTS, call.lane)
        assert call.ahead is not None, "KV lands where blocks were claimed"
        source, target = call.held.rank, call.ahead.rank
        source.pinned.remove(call)
        freed = source.give_back(call.held)
        self.stir(source.worker)
        self.landed_tokens += call.moved_tokens
        call.hold, call.ahead = call.ahead, None
        call.state, call.landed_ps, call.computed = "arrived", self.now, call.known - 1
        target.name_blocks(call, call.held, call.prompt_tokens)
        target.landed.append(call)
        target.log(EVENT_LAND, call.lane, call.prompt_tokens, freed, 0)
        self.stir(target.worker)

    def load_from_host(self, call: Call, tokens: int) -> None:
        """Bring KV back from the host tier of a call's rank, over that rank's own link, first come, first served."""
        rank = call.held.rank
        start_ps = max(self.now, rank.host_free_ps)
        rank.host_free_ps = start_ps + rank.kind.host_fixed_ps + (rank.kind.host_token_fp * tokens >> 10)
        landing_ps = max(rank.host_free_ps, self.now + 1)
        self.count(rank, "host_loaded_tokens", tokens)
        self.count(rank, "host_loading_ns", (rank.host_free_ps - start_ps) // 1000)
        rank.log(EVENT_LOAD, call.lane, tokens, start_ps, landing_ps)
        self.env.process(self.loaded(call, landing_ps))

    def loaded(self, call: Call, landing_ps: int) -> Process:
        yield self.at(landing_ps, AGENT_ACTS, call.lane)
        rank = call.held.rank
        call.state = "loaded"
        rank.name_blocks(call, call.held, call.computed)
        rank.landed.append(call)
        rank.log(EVENT_LAND, call.lane, call.computed, 0, 1)
        self.stir(rank.worker)

    # -------------------------------------------------------------------------------------------------------------- books

    def book_step(self, ranks: list[Rank]) -> int:
        """Find how long the step takes and what it draws; returns the duration in ps."""
        kind = ranks[0].kind
        law = kind.law
        queries = sum(rank.query_tokens for rank in ranks)
        shared_ps = int(law.shared_ps[min(queries, len(law.shared_ps) - 1)])
        experts_ps = law.expert_ps * sum(rank.prefill_tokens for rank in ranks) // len(ranks)
        terms = [rank.step_terms_ps(experts_ps) for rank in ranks]
        if len(kind.power.slow_fp) > 1:
            full_clock_ps = law.floor_ps + shared_ps + max(map(sum, terms))
            terms = [rank.step_terms_ps(experts_ps, rank.slow_fp(full_clock_ps, queries)) for rank in ranks]
        slowest = max(terms, key=sum)
        duration_ps = law.floor_ps + shared_ps + sum(slowest)
        duration_ns = duration_ps // 1000
        energy_uj = sum(rank.energy_uj(duration_ps, queries) for rank in ranks)
        ranks[0].log(EVENT_STEP, -1, duration_ps, energy_uj, queries)
        level = {
            "steps": 1,
            "busy_ns": duration_ns,
            "energy_uj": energy_uj,
            "decode_seq_ns": sum(len(rank.decoding) for rank in ranks) * duration_ns,
            "prefill_tokens": sum(rank.prefill_tokens for rank in ranks),
            "decode_tokens": sum(len(rank.served) for rank in ranks) * kind.sched.accept_milli // 1000,
            "cached_tokens": sum(rank.hits for rank in ranks),
            "used_block_us": sum(rank.used_blocks for rank in ranks) * (duration_ns // 1000),
            "waiting_ns": sum(len(rank.waiting) for rank in ranks) * duration_ns,
        }
        self.add_to_series(ranks[0].pool_number, level)
        for name in TOTAL_COLUMNS:
            self.count(ranks[0], name, level.get(name, 0))
        self.count(ranks[0], "floor_ns", law.floor_ps // 1000)
        self.count(ranks[0], "shared_ns", shared_ps // 1000)
        for name, term in zip(("context_ns", "decode_ns", "prefill_ns"), slowest, strict=True):
            self.count(ranks[0], name, term // 1000)
        self.count(ranks[0], "lockstep_wait_ns", (sum(slowest) * len(ranks) - sum(map(sum, terms))) // 1000)
        for rank in ranks:
            if rank.blocked:
                self.count(rank, f"blocked_{rank.blocked}_ns", duration_ns)
            if self.now >= self.world.stop.window_ps:
                totals = self.totals[rank.pool_number]
                totals["peak_used_blocks"] = max(totals["peak_used_blocks"], rank.used_blocks)
        return duration_ps

    def count(self, rank: Rank, name: str, amount: int) -> None:
        """Add to a total of a rank's pool inside the steady window."""
        if self.now >= self.world.stop.window_ps:
            self.totals[rank.pool_number][name] += amount

    def add_to_series(self, pool: int, level: dict[str, int]) -> None:
        while self.now // self.bin_ps >= SERIES_BINS:
            self.bin_ps *= 2
            self.series = [folded(series) for series in self.series]
        row = self.series[pool].setdefault(self.now // self.bin_ps, dict.fromkeys(SERIES_COLUMNS, 0))
        for name in SERIES_COLUMNS:
            row[name] += level[name]

    def record(self, call: Call, rank: Rank) -> None:
        entry = call.entry
        self.calls.append(
            (
                *(call.agent, call.lane % self.width, call.play, call.trajectory, call.number),
                *(rank.pool_number, rank.worker, rank.number, entry.pool_number, entry.worker, entry.number),
                *(call.send_ps, call.claim_ps, call.admit_ps, call.prefilled_ps),
                *(call.moved_ps, call.landed_ps, call.first_ps, call.last_ps),
                *(call.prompt_tokens, call.cached, call.from_host, call.moved_tokens),
                *(call.output_tokens, call.preemptions),
            )
        )

    def count_play(self, call: Call) -> None:
        """The last call of a play may end the run: when enough are finished, by everybody, in a long enough window."""
        self.calls_left[call.agent] -= 1
        if self.calls_left[call.agent] > 0:
            return
        stop = self.world.stop
        self.plays += 1
        self.finished_plays[call.agent] += 1
        long_enough = self.now >= stop.window_ps + stop.min_window_ps
        if self.plays >= stop.min_plays and min(self.finished_plays) >= stop.min_agent_plays and long_enough:
            self.env.process(self.halt())

    def run(self, verify: bool = True) -> None:
        fleet = self.world.fleet
        for agent in range(len(fleet.start_ps)):
            self.env.process(self.agent(agent))
        for worker in range(len(self.workers)):
            self.env.process(self.worker(worker))
        self.env.process(self.deadline())
        while not self.halted:
            before = self.now
            if self.idle_for_good():
                return
            self.env.step()
            assert self.now >= before, "the clock never goes back"
            if verify:
                self.verify()

    def idle_for_good(self) -> bool:
        """Every agent has retired and nothing is left in a rank."""
        return self.active == 0 and not any(rank.load or rank.pinned for rank in self.ranks)

    # --------------------------------------------------------------------------------------------------------- invariants

    def verify(self) -> None:
        """The laws that hold after every event."""
        calls = {id(call): call for rank in self.ranks for call in [*rank.waiting, *rank.running, *rank.parked, *rank.pinned]}
        in_flight = list(calls.values())
        unfinished = sum(call.last_ps < 0 for call in in_flight)
        assert self.issued == len(self.calls) + unfinished, "conservation: issued = finished + in flight"
        moving = sum(call.moved_tokens for call in in_flight if call.landed_ps < 0)
        early = sum(row[MOVED_TOKENS] for row in self.calls if row[LANDED_PS] < 0)  # of calls that ended with their first token
        assert self.sent_tokens == self.landed_tokens + moving + early, "transfer conserved: sent = landed + on the way"
        for rank in self.ranks:
            self.verify_blocks(rank)
            assert len(rank.running) + len(rank.parked) <= rank.sched.max_seqs, "seats: no more seated calls than max_seqs"
            assert all(call in rank.parked for call in rank.landed), "what has landed is still parked"
            if rank.host:
                assert len(rank.host.keys) <= rank.host.size, "a host tier holds no more than it can"

    def verify_blocks(self, rank: Rank) -> None:
        """Every block is free, or held by the calls that say so; what the calls hold elsewhere is not counted here."""
        pool = rank.pool
        holders = [0] * pool.size
        seated = [*rank.running, *rank.parked, *rank.pinned]
        for call in seated:
            holds = [hold for hold in (call.hold, call.ahead) if hold and hold.rank is rank]
            assert len(holds) == 1, "a call holds blocks of a rank once"
            for block in holds[0].blocks + holds[0].fixed:
                holders[block] += 1
        assert holders == pool.holders, "holders recounted from scratch"
        assert set(pool.queue) == {block for block in range(pool.size) if holders[block] == 0}, "blocks: free + used = total"
        assert all(pool.block_with[key] == block for block, key in pool.key_of.items()), "a name leads to its block"
        assert len(pool.block_with) == len(pool.key_of), "no two blocks share a name"


MOVED_TOKENS, LANDED_PS = CALL_COLUMNS.index("moved_tokens"), CALL_COLUMNS.index("landed_ps")


def folded(series: dict[int, dict[str, int]]) -> dict[int, dict[str, int]]:
    """A time series with bins twice as wide."""
    wide: dict[int, dict[str, int]] = {}
    for number, values in series.items():
        into = wide.setdefault(number // 2, dict.fromkeys(SERIES_COLUMNS, 0))
        for name in SERIES_COLUMNS:
            into[name] += values[name]
    return wide


def simulate_reference(world: World, events: bool = True, verify: bool = True) -> Output:
    """Run a world to its end, checking the invariants after every event unless told not to; else as `simulate_kernel`.

    Raises
    ------
    UserError
        When a quantity could outgrow 64 bits (`bounds`), in which the kernel counts.
    AssertionError
        When an invariant breaks; the message names it.

    Examples
    --------
    >>> from simulator import load_scenario, simulate_reference
    >>> from simulator.capacity.build import build_world, prepare
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> world = build_world(prepare(load_scenario("capacity_h200", small), seed=1), agents=1)
    >>> output = simulate_reference(world, verify=False)
    >>> output.calls_issued - len(output.calls)  # one is running when the window ends
    1
    """
    refuse_beyond_64_bits(world)
    sim = Simulation(world)
    sim.run(verify)
    end_ps = min(sim.now, world.stop.max_ps)
    series = np.zeros((len(sim.series), end_ps // sim.bin_ps + 1, len(SERIES_COLUMNS)), np.int64)
    for pool, bins in enumerate(sim.series):
        for number, values in bins.items():
            series[pool, number] = [values[name] for name in SERIES_COLUMNS]
    return Output(
        calls=np.array(sim.calls, np.int64).reshape(-1, len(CALL_COLUMNS)),
        series=series,
        bin_ps=sim.bin_ps,
        totals=np.array([[totals[name] for name in TOTAL_COLUMNS] for totals in sim.totals], np.int64),
        events=np.array(sim.events if events else [], np.int64).reshape(-1, len(EVENT_COLUMNS)),
        end_ps=end_ps,
        plays_finished=sim.plays,
        calls_issued=sim.issued,
    )
