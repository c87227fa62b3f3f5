"""The engine to read: agents, workers and ranks as SimPy processes, one object per call, one step at a time. Inputs are a `World`.

This is the executable specification; `kernel` must write the same event log. A call's life: an agent *sends* it, a router picks a *rank*,
it *waits* there, is *admitted* when a seat, tokens and blocks are at hand, is *prefilled* in chunks, emits its *first* token, *decodes* one
step at a time, perhaps is *preempted* and computed again, emits its *last* token and is *released*; then its tool runs and the agent goes
on. `verify` checks the invariants after every event.
"""

from collections import deque
from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

from simulator.engine.blocks import BlockPool
from simulator.engine.growth import first_growth, growth_period
from simulator.engine.world import (
    CALL_COLUMNS,
    EVENT_ADMIT,
    EVENT_CHUNK,
    EVENT_COLUMNS,
    EVENT_FIRST,
    EVENT_LAST,
    EVENT_PREEMPT,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_SEND,
    EVENT_STEP,
    RESERVE_INPUT,
    ROUTER_AFFINITY,
    ROUTER_ROUND_ROBIN,
    SERIES_BINS,
    SERIES_COLUMNS,
    TOTAL_COLUMNS,
    Output,
    World,
)
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_ALL, SCOPE_TRAJECTORY

STEP_ENDS, AGENT_SENDS, RUN_HALTS, STEP_BEGINS, TIME_IS_UP = range(1, 6)
"""What goes first when several things happen at one instant; equals go by worker or agent number."""

Process = Generator[simpy.Event, Any, None]


@dataclass(eq=False)
class Call:
    """One request on its way through a rank. ``known`` counts the tokens whose KV it needs before it can emit its next one."""

    agent: int
    play: int
    trajectory: int
    number: int
    """Row in the world's `Calls`."""
    known: int
    keys: list[Hashable]
    """Names of the blocks that its prompt and output will fill, in order."""
    send_ps: int
    done: simpy.Event
    state: str = "waiting"
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    named: int = 0
    """Leading blocks that are findable."""
    private: bool = False
    """It computed a copy of a cached block, so it keeps its further blocks to itself."""
    steps_left: int = 0
    steps_done: int = 0
    """Decode steps since it last began to decode."""
    grows_at: int = 0
    """The first of those steps (1-based) that takes a block."""
    admit_ps: int = -1
    first_ps: int = -1
    last_ps: int = -1
    cached: int = 0
    preemptions: int = 0


class Rank:
    """One attention shard: its queue, its running calls in admission order, its blocks."""

    def __init__(self, sim: "Simulation", worker: int, number: int) -> None:
        self.sim, self.worker, self.number = sim, worker, number
        self.waiting: deque[Call] = deque()
        self.running: list[Call] = []
        self.pool = BlockPool(sim.world.fleet.blocks_per_rank)
        self.plays = 0
        self.saturated = False
        self.preempted = False
        self.chunks: list[tuple[int, int]] = []
        """(tokens, computed before) of each prefill chunk of this step."""
        self.hits = 0
        self.blocked = ""

    # ------------------------------------------------------------------------------------------------------- scheduling

    @property
    def decoding(self) -> list[Call]:
        return [call for call in self.running if call.state in ("decode", "drain")]

    def schedule(self, step: int) -> None:
        """Choose this step's work: running calls first, then waiting ones."""
        sched = self.sim.world.sched
        self.chunks, self.hits = [], 0
        decoding = len(self.decoding)
        budget = sched.token_budget - decoding * (1 + sched.drafts)
        off_beat = sched.prefill_interval > 1 and step % sched.prefill_interval != 0
        throttled = off_beat and decoding > 0 and not self.saturated
        budget, self.preempted = self.serve_running(budget, throttled)
        self.blocked = ""
        if throttled:
            self.blocked = "budget" if self.waiting else ""
        elif self.preempted:
            self.blocked = "memory" if self.waiting else ""
        else:
            self.blocked = self.admit_waiting(budget)
        if not throttled:
            self.saturated = bool(self.waiting)
        self.log(EVENT_RANK, -1, len(self.decoding), self.prefill_tokens, self.pool.free)

    def serve_running(self, budget: int, throttled: bool) -> tuple[int, bool]:
        """Walk the running calls in admission order; when blocks are short the last admitted gives way."""
        preempted = False
        for call in list(self.running):
            tokens = 0
            if call not in self.running:
                break
            if call.state != "prefill":
                need = 1 if self.grows_now(call) else 0
            elif throttled:
                continue
            else:
                tokens = self.chunk_tokens(call.known - call.computed, budget)
                need = self.blocks_for(call.computed + tokens) - len(call.blocks)
            while need > self.pool.free and call in self.running:
                self.preempt(self.running[-1])
                preempted = True
            if call not in self.running:
                break
            if tokens > 0:
                budget -= tokens
                self.prefill(call, tokens)
            else:
                call.blocks += self.take(need)
        return budget, preempted

    def admit_waiting(self, budget: int) -> str:
        """Admit first come, first served until one does not fit; returns what keeps the head of the queue out."""
        sched, fleet = self.sim.world.sched, self.sim.world.fleet
        while self.waiting:
            if len(self.running) >= sched.max_seqs:
                return "seats"
            if budget <= 0:
                return "budget"
            call = self.waiting[0]
            hits: list[int] = []
            if sched.prefix_cache:
                hits = self.pool.match(call.keys[: (call.known - 1) // fleet.block_tokens])
            cached = len(hits) * fleet.block_tokens
            tokens = self.chunk_tokens(call.known - cached, budget)
            upto = call.known if sched.admit_reserve == RESERVE_INPUT else cached + tokens
            need = self.blocks_for(upto) + fleet.fixed_blocks - len(hits) + self.pool.unheld(hits)
            spare = sched.watermark_blocks if self.running else 0
            if need + spare > self.pool.free:
                return "memory"
            self.admit(self.waiting.popleft(), hits, tokens)
            budget -= tokens
        return ""

    def admit(self, call: Call, hits: list[int], tokens: int) -> None:
        cached = len(hits) * self.sim.world.fleet.block_tokens
        self.running.append(call)
        self.pool.hold(hits)
        call.blocks, call.named, call.private = list(hits), len(hits), False
        call.fixed = self.take(self.sim.world.fleet.fixed_blocks)
        call.computed, call.state = cached, "prefill"
        self.hits += cached
        if call.admit_ps < 0:
            call.admit_ps, call.cached = self.sim.now, cached
        self.log(EVENT_ADMIT, call.agent, cached, call.known, self.pool.free)
        self.prefill(call, tokens)

    def chunk_tokens(self, left: int, budget: int) -> int:
        cap = self.sim.world.sched.long_prefill_cap
        if cap > 0 and len(self.running) + len(self.waiting) > 1:
            left = min(left, cap)
        return min(left, budget)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.sim.world.fleet.block_tokens)

    def take(self, count: int) -> list[int]:
        evicted = self.pool.evicted
        taken = self.pool.take(count)
        self.sim.count("evicted_blocks", self.pool.evicted - evicted)
        return taken

    def prefill(self, call: Call, tokens: int) -> None:
        """Compute the next tokens of a call; its full blocks are findable at once."""
        self.chunks.append((tokens, call.computed))
        call.computed += tokens
        call.blocks += self.take(self.blocks_for(call.computed) - len(call.blocks))
        self.name_blocks(call, call.computed)
        self.log(EVENT_CHUNK, call.agent, tokens, call.computed, call.known)

    def name_blocks(self, call: Call, tokens: int) -> None:
        """Make the blocks that the first ``tokens`` fill findable, up to the first whose content is cached already."""
        if not self.sim.world.sched.prefix_cache:
            return
        full = min(tokens // self.sim.world.fleet.block_tokens, len(call.blocks), len(call.keys))
        while call.named < full and not call.private:
            if self.pool.name(call.blocks[call.named], call.keys[call.named]):
                call.named += 1
            else:
                call.private = True

    def grows_now(self, call: Call) -> bool:
        """Whether the coming decode step takes a block (the rule of `growth`)."""
        since = call.steps_done + 1 - call.grows_at
        return since >= 0 and since % self.sim.growth_period == 0

    def free_all(self, call: Call, tokens: int) -> int:
        """Let go of all blocks of a call whose first ``tokens`` have KV; returns how many."""
        self.name_blocks(call, tokens)
        freed = len(call.blocks) + len(call.fixed)
        self.pool.give_back(call.blocks)
        self.pool.give_back(call.fixed)
        call.blocks, call.fixed = [], []
        self.running.remove(call)
        return freed

    def preempt(self, call: Call) -> None:
        """Send a call back to the front of the queue; its KV will be computed again, as far as it is not found in the cache."""
        if call.state == "drain":
            self.release(call)
            return
        calls = self.sim.world.calls
        if call.state == "prefill":
            computed = call.computed
        else:
            most = int(calls.prompt_tokens[call.number] + calls.output_tokens[call.number]) - 1
            call.known = min(call.known + call.steps_done * self.sim.world.sched.accept_milli // 1000, most)
            call.steps_left -= call.steps_done
            computed = call.known - 1
        freed = self.free_all(call, computed)
        call.state, call.preemptions, call.steps_done = "waiting", call.preemptions + 1, 0
        self.waiting.appendleft(call)
        self.sim.count("preemptions", 1)
        self.log(EVENT_PREEMPT, call.agent, computed, freed, self.pool.free)

    # ------------------------------------------------------------------------------------------------------ after a step

    def finish_step(self) -> None:
        """Every decoding call has gained its tokens, every prefilled call emits one."""
        for call in self.decoding:
            call.steps_done += 1
            if call.state == "drain":
                self.release(call)
            elif call.steps_done == call.steps_left:
                self.emit_last(call)
        for call in [call for call in self.running if call.state == "prefill" and call.computed == call.known]:
            self.emit_from_prefill(call)

    def emit_from_prefill(self, call: Call) -> None:
        calls = self.sim.world.calls
        call.known += 1
        if call.first_ps < 0:
            call.first_ps = self.sim.now
            call.steps_left = int(calls.decode_steps[call.number])
            self.log(EVENT_FIRST, call.agent, int(calls.output_tokens[call.number]), call.steps_left, 0)
        else:
            call.steps_left -= 1
        if call.steps_left > 0:
            self.start_decode(call, "decode")
        else:
            self.emit_last(call)

    def start_decode(self, call: Call, state: str) -> None:
        size = self.sim.world.fleet.block_tokens
        call.state, call.steps_done = state, 0
        slack = max(0, min(size - 1, len(call.blocks) * size - (call.known - 1)))
        call.grows_at = int(self.sim.first_growth[slack])

    def emit_last(self, call: Call) -> None:
        """The call ends; one that ended by a stop token stays for the step that a pipelined engine has already begun."""
        calls = self.sim.world.calls
        call.last_ps = self.sim.now
        self.sim.record(call, self)
        self.log(EVENT_LAST, call.agent, int(calls.output_tokens[call.number]), call.cached, 0)
        self.sim.count_play(call)
        if self.sim.world.sched.pipeline_depth == 2 and calls.stops[call.number]:
            call.known = int(calls.prompt_tokens[call.number] + calls.output_tokens[call.number])
            self.start_decode(call, "drain")
        else:
            self.release(call)

    def release(self, call: Call) -> None:
        calls = self.sim.world.calls
        freed = self.free_all(call, int(calls.prompt_tokens[call.number] + calls.output_tokens[call.number]) - 1)
        self.log(EVENT_RELEASE, call.agent, freed, self.pool.free, 0)
        call.done.succeed()

    # ---------------------------------------------------------------------------------------------------------- the books

    @property
    def prefill_tokens(self) -> int:
        return sum(tokens for tokens, _ in self.chunks)

    @property
    def query_tokens(self) -> int:
        return len(self.decoding) * (1 + self.sim.world.sched.drafts) + self.prefill_tokens

    @property
    def context_tokens(self) -> int:
        """Summed context of the decoding calls."""
        accept_milli = self.sim.world.sched.accept_milli
        return sum(call.known * 1000 + call.steps_done * accept_milli for call in self.decoding) // 1000

    @property
    def pairs(self) -> int:
        return sum(tokens * (2 * before + tokens) for tokens, before in self.chunks)

    @property
    def used_blocks(self) -> int:
        return self.pool.size - self.pool.free

    def step_terms_ps(self) -> tuple[int, int, int]:
        """This rank's part of the step time: KV reads, decode compute, prefill compute."""
        law, b = self.sim.world.law, len(self.decoding)
        reads = law.seq_ps * b + (law.ctx_fp * self.context_tokens >> 10)
        verify = law.decode_token_ps * b * (1 + self.sim.world.sched.drafts)
        fill = law.prefill_token_ps * self.prefill_tokens + (law.pair_fp * self.pairs >> 11)
        return reads, verify, fill

    def energy_uj(self, duration_ps: int, queries: int) -> int:
        """What this rank's GPUs draw in the step."""
        power = self.sim.world.power
        hbm_ps = int(power.shared_hbm_ps[min(queries, len(power.shared_hbm_ps) - 1)])
        hbm_ps += power.seq_hbm_ps * len(self.decoding) + (power.ctx_hbm_fp * self.context_tokens >> 10)
        flop_ps = power.token_flop_ps * self.query_tokens + (power.pair_flop_fp * self.pairs >> 11)
        duration_ns = duration_ps // 1000
        pj = power.floor_mw * duration_ns + power.hbm_mw * (hbm_ps // 1000) + power.flop_mw * (flop_ps // 1000)
        return power.gpus_per_rank * min(pj, power.cap_mw * duration_ns) // 1_000_000

    def log(self, kind: int, agent: int, a: int, b: int, c: int) -> None:
        self.sim.events.append((self.sim.now, kind, self.worker, self.number, agent, a, b, c))


class Simulation:
    """One world in motion."""

    def __init__(self, world: World) -> None:
        fleet = world.fleet
        self.world = world
        self.env = simpy.Environment()
        self.ranks = [Rank(self, worker, number) for worker in range(fleet.workers) for number in range(fleet.ranks)]
        self.growth_period = growth_period(world.sched, fleet.block_tokens)
        self.first_growth = first_growth(world.sched, fleet.block_tokens)
        self.wake: list[simpy.Event] = [self.env.event() for _ in range(fleet.workers)]
        self.halted = False
        self.turn = self.issued = self.plays = 0
        self.finished_plays = [0] * len(fleet.start_ps)
        self.active = len(fleet.start_ps)
        self.events: list[tuple[int, ...]] = []
        self.calls: list[tuple[int, ...]] = []
        self.series: dict[int, dict[str, int]] = {}
        self.bin_ps = PS_PER_S
        self.totals = dict.fromkeys(TOTAL_COLUMNS, 0)

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
        """Play one trajectory after another; one call in flight."""
        world, fleet = self.world, self.world.fleet
        wake_ps = int(fleet.start_ps[agent])
        play = 0
        while True:
            trajectory = int(fleet.order[(agent + play * (len(fleet.start_ps) + 1)) % len(fleet.order)])
            home: Rank | None = None
            for number in range(int(world.calls.first[trajectory]), int(world.calls.first[trajectory + 1])):
                yield self.at(wake_ps, AGENT_SENDS, agent)
                if home is None and fleet.router == ROUTER_AFFINITY:
                    home = min(self.ranks, key=lambda rank: rank.plays)
                    home.plays += 1
                call = self.send(agent, play, trajectory, number, home or self.route())
                yield call.done
                wake_ps = max(self.now, call.last_ps + int(world.calls.tool_ps[number]))
            if home is not None:
                home.plays -= 1
            play += 1
            if 0 < world.stop.max_plays_per_agent <= play:
                self.active -= 1
                return

    def send(self, agent: int, play: int, trajectory: int, number: int, rank: Rank) -> Call:
        calls = self.world.calls
        self.issued += 1
        call = Call(
            agent, play, trajectory, number, int(calls.prompt_tokens[number]), self.keys(agent, play, number), self.now, self.env.event()
        )
        rank.waiting.append(call)
        rank.log(EVENT_SEND, agent, trajectory, number - int(calls.first[trajectory]), play)
        if not self.wake[rank.worker].triggered:
            self.wake[rank.worker].succeed()
        return call

    def route(self) -> Rank:
        """The rank for one call: in turn, or the one with the fewest calls (the first of equals)."""
        if self.world.fleet.router == ROUTER_ROUND_ROBIN:
            self.turn += 1
            return self.ranks[(self.turn - 1) % len(self.ranks)]
        return min(self.ranks, key=lambda rank: len(rank.waiting) + len(rank.running))

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
        fleet = self.world.fleet
        ranks = self.ranks[worker * fleet.ranks : (worker + 1) * fleet.ranks]
        step = 0
        while True:
            if not any(rank.waiting or rank.running for rank in ranks):
                self.wake[worker] = self.env.event()
                yield self.wake[worker]
            yield self.at(self.now, STEP_BEGINS, worker)
            for rank in ranks:
                rank.schedule(step)
            duration_ps = self.book_step(ranks)
            step += 1
            yield self.at(self.now + duration_ps, STEP_ENDS, worker)
            for rank in ranks:
                rank.finish_step()

    def deadline(self) -> Process:
        yield self.at(self.world.stop.max_ps, TIME_IS_UP, 0)
        self.halted = True

    def halt(self) -> Process:
        yield self.at(self.now, RUN_HALTS, 0)
        self.halted = True

    # -------------------------------------------------------------------------------------------------------------- books

    def book_step(self, ranks: list[Rank]) -> int:
        """Find how long the step takes and what it draws; returns the duration in ps."""
        law = self.world.law
        queries = sum(rank.query_tokens for rank in ranks)
        empty_for_once = any(rank.preempted for rank in ranks)  # its only decoding calls gave way while prefill waits for its beat
        assert queries > 0 or empty_for_once, "work conserving: a worker has calls but none can run"
        shared_ps = int(law.shared_ps[min(queries, len(law.shared_ps) - 1)])
        terms = [rank.step_terms_ps() for rank in ranks]
        slowest = max(terms, key=sum)
        duration_ps = law.floor_ps + shared_ps + sum(slowest)
        duration_ns = duration_ps // 1000
        energy_uj = sum(rank.energy_uj(duration_ps, queries) for rank in ranks)
        ranks[0].log(EVENT_STEP, -1, duration_ps, energy_uj, queries)
        decoding = sum(len(rank.decoding) for rank in ranks)
        level = {
            "steps": 1,
            "busy_ns": duration_ns,
            "energy_uj": energy_uj,
            "decode_seq_ns": decoding * duration_ns,
            "prefill_tokens": sum(rank.prefill_tokens for rank in ranks),
            "decode_tokens": decoding * self.world.sched.accept_milli // 1000,
            "cached_tokens": sum(rank.hits for rank in ranks),
            "used_block_ns": sum(rank.used_blocks for rank in ranks) * duration_ns,
            "waiting_ns": sum(len(rank.waiting) for rank in ranks) * duration_ns,
        }
        self.add_to_series(level)
        for name in TOTAL_COLUMNS:
            self.count(name, level.get(name, 0))
        self.count("floor_ns", law.floor_ps // 1000)
        self.count("shared_ns", shared_ps // 1000)
        for name, term in zip(("context_ns", "decode_ns", "prefill_ns"), slowest, strict=True):
            self.count(name, term // 1000)
        self.count("lockstep_wait_ns", (sum(slowest) * len(ranks) - sum(map(sum, terms))) // 1000)
        for rank in ranks:
            if rank.blocked:
                self.count(f"blocked_{rank.blocked}_ns", duration_ns)
            if self.now >= self.world.stop.window_ps:
                self.totals["peak_used_blocks"] = max(self.totals["peak_used_blocks"], rank.used_blocks)
        return duration_ps

    def count(self, name: str, amount: int) -> None:
        """Add to a total inside the steady window."""
        if self.now >= self.world.stop.window_ps:
            self.totals[name] += amount

    def add_to_series(self, level: dict[str, int]) -> None:
        while self.now // self.bin_ps >= SERIES_BINS:
            self.bin_ps *= 2
            folded: dict[int, dict[str, int]] = {}
            for number, values in self.series.items():
                into = folded.setdefault(number // 2, dict.fromkeys(SERIES_COLUMNS, 0))
                for name in SERIES_COLUMNS:
                    into[name] += values[name]
            self.series = folded
        row = self.series.setdefault(self.now // self.bin_ps, dict.fromkeys(SERIES_COLUMNS, 0))
        for name in SERIES_COLUMNS:
            row[name] += level[name]

    def record(self, call: Call, rank: Rank) -> None:
        calls = self.world.calls
        self.calls.append(
            (
                *(call.agent, call.play, call.trajectory, call.number - int(calls.first[call.trajectory]), rank.worker, rank.number),
                *(call.send_ps, call.admit_ps, call.first_ps, call.last_ps),
                *(int(calls.prompt_tokens[call.number]), call.cached, int(calls.output_tokens[call.number]), call.preemptions),
            )
        )

    def count_play(self, call: Call) -> None:
        """A finished play may end the run: when enough are finished, by everybody, in a long enough window."""
        if call.number + 1 < self.world.calls.first[call.trajectory + 1]:
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
        for worker in range(fleet.workers):
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
        return self.active == 0 and not any(rank.waiting or rank.running for rank in self.ranks)

    # --------------------------------------------------------------------------------------------------------- invariants

    def verify(self) -> None:
        """The laws that hold after every event."""
        waiting = sum(len(rank.waiting) for rank in self.ranks)
        running = sum(call.last_ps < 0 for rank in self.ranks for call in rank.running)
        assert self.issued == len(self.calls) + waiting + running, "conservation: issued = finished + running + waiting"
        for rank in self.ranks:
            self.verify_blocks(rank)
            seats = self.world.sched.max_seqs
            assert len(rank.running) <= seats, "seats: no more running calls than max_seqs"

    def verify_blocks(self, rank: Rank) -> None:
        pool = rank.pool
        holders = [0] * pool.size
        for call in rank.running:
            for block in call.blocks + call.fixed:
                holders[block] += 1
        assert holders == pool.holders, "holders recounted from scratch"
        assert set(pool.queue) == {block for block in range(pool.size) if holders[block] == 0}, "blocks: free + used = total"
        assert all(pool.block_with[key] == block for block, key in pool.key_of.items()), "a name leads to its block"
        assert len(pool.block_with) == len(pool.key_of), "no two blocks share a name"


def simulate_reference(world: World, events: bool = True, verify: bool = True) -> Output:
    """Run a world to its end, checking the invariants after every event unless told not to; else as `simulate_kernel`.

    Raises
    ------
    AssertionError
        When an invariant breaks; the message names it.
    """
    sim = Simulation(world)
    sim.run(verify)
    end_ps = min(sim.now, world.stop.max_ps)
    series = np.zeros((end_ps // sim.bin_ps + 1, len(SERIES_COLUMNS)), np.int64)
    for number, values in sim.series.items():
        series[number] = [values[name] for name in SERIES_COLUMNS]
    return Output(
        calls=np.array(sim.calls, np.int64).reshape(-1, len(CALL_COLUMNS)),
        series=series,
        bin_ps=sim.bin_ps,
        totals=np.array([sim.totals[name] for name in TOTAL_COLUMNS], np.int64),
        events=np.array(sim.events if events else [], np.int64).reshape(-1, len(EVENT_COLUMNS)),
        end_ps=end_ps,
        plays_finished=sim.plays,
        calls_issued=sim.issued,
    )
