"""A rank of the reference engine: its queue, running calls and KV blocks, and how it schedules a step. Inputs come from `reference`."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import simpy

from simulator.engine.blocks import BlockPool, NameStore
from simulator.engine.growth import first_growth, growth_period
from simulator.engine.world import (
    BATCH_PREFILL_FIRST,
    CACHE_BLOCKS,
    CACHE_NONE,
    CACHE_SLOTS,
    EVENT_ADMIT,
    EVENT_CHUNK,
    EVENT_CLAIM,
    EVENT_FIRST,
    EVENT_LAST,
    EVENT_PREEMPT,
    EVENT_PREFILLED,
    EVENT_RANK,
    EVENT_RELEASE,
    FIRST_BY_PREFILL,
    REQUEUE_FRONT,
    RESERVE_CHUNK,
    RESERVE_FULL,
    RESERVE_RATIO,
    ROLE_PREFILL,
    TRANSFER_CHUNK,
    VICTIM_LAST,
    VISIBLE_RESULT,
    VISIBLE_SCHEDULED,
    Pool,
)

if TYPE_CHECKING:
    from simulator.engine.reference import Simulation


@dataclass(eq=False)
class Hold:
    """What a call holds of one rank's KV memory."""

    rank: "Rank"
    blocks: list[int] = field(default_factory=list)
    fixed: list[int] = field(default_factory=list)
    named: int = 0
    """Leading blocks that are findable."""
    private: bool = False
    """It computed a copy of a cached block, so it keeps its further blocks to itself."""


@dataclass(eq=False)
class Call:
    """One request on its way through the fleet. ``known`` counts the tokens whose KV it needs before it can emit its next one.

    Its ``state`` goes: waiting (for admission), [loading from the host tier], prefill, [prefilled: waiting for a decode seat, moving],
    decode, [drain]. With ``prealloc`` it first waits for its decode seat (claiming).
    """

    lane: int
    agent: int
    play: int
    trajectory: int
    number: int
    """Which call of its trajectory."""
    prompt_tokens: int
    output_tokens: int
    decode_steps: int
    stops: int
    """These four as in the world's `Calls`."""
    keys: list[Hashable]
    """Names of the blocks that its prompt and output will fill, in order."""
    done: simpy.Event
    homes: "Sequence[Rank]"
    """Where session affinity sends its thread: entry rank, and decode rank in a disaggregated fleet."""
    entry: "Rank" = field(init=False)
    known: int = field(init=False)
    state: str = "waiting"
    hold: Hold | None = None
    """Where it computes."""
    ahead: Hold | None = None
    """What it has claimed at its decode rank."""
    computed: int = 0
    moved: int = 0
    """Leading tokens whose KV has been sent, or need not be."""
    steps_left: int = 0
    steps_done: int = 0
    """Decode steps since it last began to decode."""
    grows_at: int = 0
    """The first of those steps (1-based) that takes a block."""
    slot: int = -1
    send_ps: int = -1
    claim_ps: int = -1
    admit_ps: int = -1
    prefilled_ps: int = -1
    moved_ps: int = -1
    landed_ps: int = -1
    first_ps: int = -1
    last_ps: int = -1
    cached: int = 0
    from_host: int = 0
    moved_tokens: int = 0
    preemptions: int = 0

    def __post_init__(self) -> None:
        self.known = self.prompt_tokens

    @property
    def held(self) -> Hold:
        """What it holds where it computes."""
        assert self.hold, "only a seated call holds blocks"
        return self.hold


@dataclass
class Slot:
    """A fixed slot (`CACHE_SLOTS`): what its last call left, and when."""

    keys: list[Hashable] = field(default_factory=list)
    used: int = -1
    busy: bool = False


class Rank:
    """One attention shard: its queue, its running calls in admission order, its blocks.

    ``parked`` calls hold a seat and blocks and wait for KV from the host tier or from a prefill rank (``landed`` ones have it and join at
    the next step); ``pinned`` ones are prefilled and hold their blocks until their KV has moved.
    """

    def __init__(self, sim: "Simulation", pool_number: int, worker: int, number: int, index: int) -> None:
        self.sim, self.pool_number, self.worker, self.number, self.index = sim, pool_number, worker, number, index
        self.kind: Pool = sim.world.fleet.pools[pool_number]
        self.sched = self.kind.sched
        self.size = sim.world.fleet.block_tokens
        self.host = NameStore(self.kind.host_blocks) if self.kind.host_blocks else None
        self.tails = NameStore(self.kind.tails) if self.kind.tails else None
        self.pool = BlockPool(self.kind.blocks_per_rank, self.host)
        self.slots = [Slot() for _ in range(self.sched.max_seqs)] if self.sched.prefix_cache == CACHE_SLOTS else []
        self.waiting: deque[Call] = deque()
        self.running: list[Call] = []
        self.parked: list[Call] = []
        self.landed: deque[Call] = deque()
        self.pinned: list[Call] = []
        self.plays = 0
        """Threads that session affinity bound here."""
        self.saturated = False
        self.preempted = False
        self.full = ""
        """`BATCH_PREFILL_FIRST`: why a call did not fit; nothing has been given back since."""
        self.pause = 0
        """`BATCH_PREFILL_FIRST`: steps for which prefill pauses."""
        self.ratio_micro = self.sched.ratio_init_milli * 1000
        self.claim_blocked = ""
        self.host_free_ps = 0
        self.decodes = True
        """Whether decoding calls gain tokens in this step."""
        self.chunks: list[tuple[int, int]] = []
        """(tokens, computed before) of each prefill chunk of this step."""
        self.hits = 0
        self.parked_now = False
        self.blocked = ""
        self.growth_period = growth_period(self.sched, self.size)
        self.first_growth = first_growth(self.sched, self.size)

    # ------------------------------------------------------------------------------------------------------- scheduling

    @property
    def decoding(self) -> list[Call]:
        return [call for call in self.running if call.state in ("decode", "drain")]

    @property
    def load(self) -> int:
        """Calls that a router counts."""
        return len(self.waiting) + len(self.running) + len(self.parked)

    def can_work(self) -> bool:
        """Whether a step would do anything."""
        if self.running or self.landed:
            return True
        if not self.waiting or self.waiting[0].state != "waiting":
            return False
        return not (self.parked or self.pinned) or self.head_fits()

    def head_fits(self) -> bool:
        """Whether the first waiting call would be admitted by a step in which nothing runs."""
        if self.sched.batch_mode == BATCH_PREFILL_FIRST and self.full:
            return False
        return self.obstacle(self.waiting[0], self.sched.token_budget) == ""

    def schedule(self, step: int) -> None:
        """Choose this step's work: landed and running calls first, then waiting ones."""
        self.chunks, self.hits, self.parked_now, self.preempted = [], 0, False, False
        self.join_landed()
        if self.sched.batch_mode == BATCH_PREFILL_FIRST:
            self.blocked = self.prefill_or_decode()
        else:
            self.blocked = self.mix(step)
        self.log(EVENT_RANK, -1, len(self.decoding) if self.decodes else 0, self.prefill_tokens, self.pool.free)

    def mix(self, step: int) -> str:
        """Decodes and prefill chunks share the step; returns what keeps the head of the queue out."""
        self.decodes = True
        sched, decoding = self.sched, len(self.decoding)
        budget = max(0, sched.token_budget - decoding * (1 + sched.drafts))
        off_beat = sched.prefill_interval > 1 and step % sched.prefill_interval != 0
        throttled = off_beat and decoding > 0 and not self.saturated
        budget = self.serve_running(budget, decodes=True, prefills=not throttled)
        blocked = ""
        if throttled:
            blocked = "budget" if self.waiting else ""
        elif self.preempted:
            blocked = "memory" if self.waiting else ""
        else:
            blocked = self.admit_waiting(budget)
        if not throttled:
            self.saturated = bool(self.waiting)
        return blocked

    def prefill_or_decode(self) -> str:
        """Prefill alone while any can run, else decode; returns what keeps the head of the queue out."""
        decoding = len(self.decoding)
        paused = self.pause > 0 and decoding > 0
        self.decodes = False
        blocked = ""
        if not paused:
            budget = self.serve_running(self.sched.token_budget, decodes=False, prefills=True)
            if self.preempted:
                blocked = "memory" if self.waiting else ""
            elif self.full:
                blocked = self.full if self.waiting else ""
            else:
                blocked = self.admit_waiting(budget)
                self.full = blocked if blocked in ("memory", "seats") else ""
        if self.chunks:
            self.pause = self.sched.decode_interval
        else:
            self.pause = max(0, self.pause - 1)
            self.decodes = True
            self.serve_running(0, decodes=True, prefills=False)
        return "budget" if paused and self.waiting else blocked

    def join_landed(self) -> None:
        """Calls whose KV has arrived take part from this step on."""
        while self.landed:
            call = self.landed.popleft()
            self.parked.remove(call)
            self.running.append(call)
            if call.state == "arrived" and call.first_ps >= 0:
                self.start_decode(call, "decode")
            else:
                call.state = "prefill"

    def serve_running(self, budget: int, decodes: bool, prefills: bool) -> int:
        """Walk the running calls in admission order; when blocks are short one gives way. Returns the budget left."""
        for call in list(self.running):
            tokens = 0
            if call not in self.running:
                continue
            if call.state != "prefill":
                need = 1 if decodes and self.grows_now(call) else 0
            elif not prefills:
                continue
            else:
                tokens = self.chunk_tokens(call.known - call.computed, budget)
                need = self.blocks_for(call.computed + tokens) - len(call.held.blocks) if tokens else 0
            while need > self.pool.free and call in self.running:
                self.preempt(self.victim())
                self.preempted = True
            if call not in self.running:
                continue
            if tokens > 0:
                budget -= tokens
                self.prefill(call, tokens)
            else:
                call.held.blocks += self.take(need)
        return budget

    def victim(self) -> Call:
        """Who gives way: the last admitted, or the decoding call with the fewest output tokens (the longest prompt, the last of equals)."""
        decoding = self.decoding
        if self.sched.victim == VICTIM_LAST or not decoding:
            return self.running[-1]
        return min(reversed(decoding), key=lambda call: (self.output_so_far(call), -call.prompt_tokens))

    def output_so_far(self, call: Call) -> int:
        """Output tokens of a call at this rank, in the mean; a scheduler counts what is out, not what will be."""
        gained = call.steps_done * self.sched.accept_milli // 1000 if call.state in ("decode", "drain") else 0
        return call.known + gained - call.prompt_tokens

    # -------------------------------------------------------------------------------------------------------- admission

    def admit_waiting(self, budget: int) -> str:
        """Admit first come, first served until one does not fit; returns what keeps the head of the queue out."""
        while self.waiting:
            call = self.waiting[0]
            if call.state != "waiting":
                return self.claim_blocked
            blocked = self.obstacle(call, budget)
            if blocked:
                return blocked
            budget -= self.admit(self.waiting.popleft(), budget)
        return ""

    def obstacle(self, call: Call, budget: int) -> str:
        """What keeps a waiting call out: ``seats``, ``budget``, ``memory``, or nothing."""
        if len(self.running) + len(self.parked) >= self.sched.max_seqs:
            return "seats"
        if budget <= 0:
            return "budget"
        hits, brought, shared = self.found(call)
        cached = (len(hits) + len(brought) + shared) * self.size
        tokens = self.chunk_tokens(call.known - cached, budget)
        if tokens == 0 and not brought:
            return "budget"
        upto = cached + tokens if self.sched.admit_reserve == RESERVE_CHUNK else call.known
        return "" if self.has_room(call, hits, upto) else "memory"

    def found(self, call: Call) -> tuple[list[int], list[Hashable], int]:
        """What of a call's KV is here: cached blocks, names of the blocks that follow in the host tier, and blocks that its slot has."""
        keys = call.keys[: (call.known - 1) // self.size]
        if self.sched.prefix_cache == CACHE_NONE:
            return [], [], 0
        if self.sched.prefix_cache == CACHE_SLOTS:
            return [], [], self.best_slot(call)[1]
        hits = self.pool.match(keys)
        if self.tails:
            hits = hits[: self.tails.last(keys[: len(hits)])]
        brought = keys[len(hits) :][: self.host.match(keys[len(hits) :])] if self.host else []
        return hits, brought, 0

    def best_slot(self, call: Call) -> tuple[int, int]:
        """The slot for a call, and how many blocks of its prompt that slot has: the one that shares most, if that is enough of the prompt,
        else the one idle for longest; the first of equals."""
        keys = call.keys[: (call.known - 1) // self.size]
        idle = [i for i, slot in enumerate(self.slots) if not slot.busy]
        shared = {i: common(keys, self.slots[i].keys) for i in idle}
        best = max(idle, key=lambda i: shared[i])
        if shared[best] * 1000 <= self.sched.similarity_milli * len(keys):
            best = min(idle, key=lambda i: self.slots[i].used)
        return best, shared[best]

    def has_room(self, call: Call, hits: list[int], upto: int) -> bool:
        """Whether blocks for the first ``upto`` tokens of a call are at hand, and what the reservation rule asks for besides."""
        seated = [*self.running, *self.parked]
        need = self.blocks_for(upto) + self.fixed_blocks - len(hits) + self.pool.unheld(hits)
        if need + (self.sched.watermark_blocks if seated else 0) > self.pool.free:
            return False
        if not seated:
            return True
        if self.sched.admit_reserve == RESERVE_FULL:
            return sum(map(self.whole_blocks, seated)) + self.whole_blocks(call) <= self.pool.size
        if self.sched.admit_reserve == RESERVE_RATIO:
            most = min(self.sched.max_new_tokens, self.sched.ratio_clip)  # of a call that has not begun
            promised = (sum(map(self.further_output, self.running)) + most * len(self.parked)) * self.ratio_micro // 10**6
            promised += sum(self.size * self.blocks_not_yet_taken(other) for other in seated)
            return need * self.size + self.further_output(call) + self.size <= self.pool.free * self.size - promised
        return True

    def whole_blocks(self, call: Call) -> int:
        """Blocks that a call would need with the longest answer it may give."""
        return self.blocks_for(call.prompt_tokens + self.sched.max_new_tokens) + self.fixed_blocks

    def further_output(self, call: Call) -> int:
        """Output tokens still to be reckoned with."""
        return min(max(0, self.sched.max_new_tokens - self.output_so_far(call)), self.sched.ratio_clip)

    def blocks_not_yet_taken(self, call: Call) -> int:
        """Blocks of a seated call's known input for which only later chunks will ask."""
        if call.state not in ("prefill", "loading", "loaded") or call.held.rank is not self:
            return 0
        return self.blocks_for(call.known) - len(call.held.blocks)

    def admit(self, call: Call, budget: int) -> int:
        """Seat a call, with what is found of its KV; returns the tokens of its first chunk (0 while its KV comes from the host tier)."""
        hits, brought, shared = self.found(call)
        if self.slots:
            call.slot = self.best_slot(call)[0]
            self.slots[call.slot].busy = True
        if self.host:
            self.host.take_out(brought)
        self.pool.hold(hits)
        call.hold = Hold(self, list(hits), named=len(hits))
        call.hold.fixed = self.take(self.fixed_blocks)
        call.hold.blocks += self.take(len(brought))
        cached = call.computed = (len(hits) + len(brought) + shared) * self.size
        if self.tails and hits:
            self.tails.store(call.keys[len(hits) - 1])
        self.hits += cached
        if call.admit_ps < 0:
            call.admit_ps, call.cached, call.from_host = self.sim.now, cached, len(brought) * self.size
        self.log(EVENT_ADMIT, call.lane, cached, call.known, self.pool.free)
        if brought:
            self.parked_now, call.state = True, "loading"
            self.parked.append(call)
            self.sim.load_from_host(call, len(brought) * self.size)
            return 0
        tokens = self.chunk_tokens(call.known - cached, budget, waiting=1)
        self.running.append(call)
        call.state = "prefill"
        self.prefill(call, tokens)
        return tokens

    def claim_waiting(self) -> None:
        """Give decode seats and blocks to calls that come from a prefill rank, first come, first served."""
        self.claim_blocked = ""
        while self.waiting and self.waiting[0].state in ("claiming", "prefilled"):
            call = self.waiting[0]
            hits, _, _ = self.found(call)
            prompt = call.prompt_tokens
            if len(self.running) + len(self.parked) >= self.sched.max_seqs:
                self.claim_blocked = "seats"
                return
            if not self.has_room(call, hits, prompt):
                self.claim_blocked = "memory"
                return
            self.waiting.popleft()
            self.parked.append(call)
            self.pool.hold(hits)
            call.ahead = Hold(self, list(hits), named=len(hits))
            call.ahead.fixed = self.take(self.fixed_blocks)
            call.ahead.blocks += self.take(self.blocks_for(prompt) - len(hits))
            if self.tails and hits:
                self.tails.store(call.keys[len(hits) - 1])
            call.claim_ps, call.moved = self.sim.now, len(hits) * self.size
            self.log(EVENT_CLAIM, call.lane, call.moved, call.known, self.pool.free)
            if call.state == "claiming":
                call.state = "waiting"
                self.sim.enqueue(call, call.entry)
            else:
                self.sim.move(call, prompt, last=True)

    # ---------------------------------------------------------------------------------------------------- blocks, chunks

    @property
    def fixed_blocks(self) -> int:
        """Blocks that a seated call holds whatever its length: a fixed slot's are all there are for it."""
        return self.pool.size // self.sched.max_seqs if self.slots else self.kind.fixed_blocks

    def blocks_for(self, tokens: int) -> int:
        return 0 if self.slots else -(-tokens // self.size)

    def chunk_tokens(self, left: int, budget: int, waiting: int = 0) -> int:
        """Prefill tokens of a call with ``left`` tokens to compute; ``waiting`` counts the call itself when it is in no list."""
        cap = self.sched.long_prefill_cap
        if cap > 0 and len(self.running) + len(self.waiting) + waiting > 1:
            left = min(left, cap)
        return left if left <= budget else budget // self.sched.chunk_round * self.sched.chunk_round

    def take(self, count: int) -> list[int]:
        evicted, stored = self.pool.evicted, self.host.stored if self.host else 0
        taken = self.pool.take(count)
        self.sim.count(self, "evicted_blocks", self.pool.evicted - evicted)
        self.sim.count(self, "host_stored_blocks", self.host.stored - stored if self.host else 0)
        return taken

    def prefill(self, call: Call, tokens: int) -> None:
        """Compute the next tokens of a call."""
        self.chunks.append((tokens, call.computed))
        call.computed += tokens
        call.held.blocks += self.take(self.blocks_for(call.computed) - len(call.held.blocks))
        if self.sched.visible == VISIBLE_SCHEDULED:
            self.name_blocks(call, call.held, call.computed)
        self.log(EVENT_CHUNK, call.lane, tokens, call.computed, call.known)

    def name_blocks(self, call: Call, hold: Hold, tokens: int) -> None:
        """Make the blocks that the first ``tokens`` fill findable, up to the first whose content is cached already."""
        if self.sched.prefix_cache != CACHE_BLOCKS:
            return
        full = min(tokens // self.size, len(hold.blocks), len(call.keys))
        while hold.named < full and not hold.private:
            if self.pool.name(hold.blocks[hold.named], call.keys[hold.named]):
                hold.named += 1
            else:
                hold.private = True

    def keep_tail(self, call: Call, tokens: int) -> None:
        """Remember that a later prompt can resume after the full blocks of a call's first ``tokens``."""
        full = min(tokens // self.size, len(call.keys))
        if self.tails and self.sched.prefix_cache == CACHE_BLOCKS and full:
            self.tails.store(call.keys[full - 1])

    def grows_now(self, call: Call) -> bool:
        """Whether the coming decode step takes a block (the rule of `growth`)."""
        since = call.steps_done + 1 - call.grows_at
        return not self.slots and since >= 0 and since % self.growth_period == 0

    def give_back(self, hold: Hold) -> int:
        """Free a call's blocks here; returns how many."""
        self.pool.give_back(hold.blocks)
        self.pool.give_back(hold.fixed)
        self.full = ""
        return len(hold.blocks) + len(hold.fixed)

    def vacate(self, call: Call, tokens: int) -> int:
        """Let go of all blocks of a running call whose first ``tokens`` have KV, and of its seat; returns how many blocks."""
        self.name_blocks(call, call.held, tokens)
        if self.slots:
            slot = self.slots[call.slot]
            self.sim.slot_uses += 1
            slot.keys, slot.used, slot.busy = call.keys[: tokens // self.size], self.sim.slot_uses, False
        freed = self.give_back(call.held)
        call.hold = None
        self.running.remove(call)
        return freed

    def preempt(self, call: Call) -> None:
        """Send a call back to the queue; its KV will be computed again, as far as it is not found in the cache."""
        if call.state == "drain":
            self.release(call)
            return
        if call.state == "prefill":
            computed = call.computed
        else:
            most = call.prompt_tokens + call.output_tokens - 1
            call.known = min(call.known + call.steps_done * self.sched.accept_milli // 1000, most)
            call.steps_left -= call.steps_done
            computed = call.known - 1
        # Where blocks become findable by a step's result, those of its answer never do: it has not finished.
        freed = self.vacate(call, computed if self.sched.visible == VISIBLE_SCHEDULED else 0)
        call.state, call.preemptions, call.steps_done = "waiting", call.preemptions + 1, 0
        if self.sched.requeue == REQUEUE_FRONT:
            self.waiting.appendleft(call)
        else:
            self.waiting.append(call)
        if self.sched.admit_reserve == RESERVE_RATIO:
            self.raise_ratio()
        self.sim.count(self, "preemptions", 1)
        self.log(EVENT_PREEMPT, call.lane, computed, freed, self.pool.free)

    def raise_ratio(self) -> None:
        """After a call gave way: reserve as the calls still decoding have turned out, and 20 tokens each."""
        decoding = self.decoding
        out = sum(map(self.output_so_far, decoding)) + 20 * len(decoding)
        self.ratio_micro = min(10**6, out * 10**6 // (len(decoding) * self.sched.max_new_tokens + 1))

    # ------------------------------------------------------------------------------------------------------ after a step

    def finish_step(self) -> None:
        """Every decoding call that was served has gained its tokens, every prefilled call emits one."""
        for call in self.decoding if self.decodes else []:
            call.steps_done += 1
            if call.state == "drain":
                self.release(call)
            elif call.steps_done == call.steps_left:
                self.emit_last(call)
        if self.decodes:
            sched = self.sched
            fall = (sched.ratio_init_milli - sched.ratio_min_milli) * 1000 // sched.ratio_steps
            self.ratio_micro = max(sched.ratio_min_milli * 1000, self.ratio_micro - fall)
        for call in [call for call in self.running if call.state == "prefill"]:
            if self.sched.visible == VISIBLE_RESULT:
                self.name_blocks(call, call.held, call.computed)
            if self.kind.role == ROLE_PREFILL and self.sim.world.fleet.transfer == TRANSFER_CHUNK and call.computed < call.known:
                self.sim.move(call, call.computed, last=False)
            if call.computed == call.known:
                self.finish_prefill(call)

    def finish_prefill(self, call: Call) -> None:
        """All known tokens are computed: a token comes out, or the KV goes to a decode rank, or both."""
        if call.prefilled_ps < 0:
            call.prefilled_ps = self.sim.now
        self.keep_tail(call, call.known)
        if self.kind.role != ROLE_PREFILL or self.sim.world.fleet.first_token == FIRST_BY_PREFILL:
            self.emit_from_prefill(call)
        if self.kind.role == ROLE_PREFILL and call.last_ps < 0:
            self.hand_over(call)

    def emit_from_prefill(self, call: Call) -> None:
        call.known += 1
        if call.first_ps < 0:
            call.first_ps = self.sim.now
            call.steps_left = call.decode_steps
            self.log(EVENT_FIRST, call.lane, call.output_tokens, call.steps_left, 0)
        else:
            call.steps_left -= 1
        if call.steps_left == 0:
            self.emit_last(call)
        elif self.kind.role != ROLE_PREFILL:
            self.start_decode(call, "decode")

    def hand_over(self, call: Call) -> None:
        """Leave the seat, keep the blocks until the KV has moved."""
        self.running.remove(call)
        self.pinned.append(call)
        self.full, call.state = "", "prefilled"
        target = None if call.ahead else self.sim.route_decode(call)
        self.log(EVENT_PREFILLED, call.lane, call.known, target.index if target else -1, 0)
        if target:
            self.sim.enqueue(call, target)
        else:
            self.sim.move(call, call.prompt_tokens, last=True)

    def start_decode(self, call: Call, state: str) -> None:
        call.state, call.steps_done = state, 0
        slack = max(0, min(self.size - 1, len(call.held.blocks) * self.size - (call.known - 1)))
        call.grows_at = int(self.first_growth[slack])

    def emit_last(self, call: Call) -> None:
        """The call ends; one that ended by a stop token stays for the step that a pipelined engine has already begun."""
        call.last_ps = self.sim.now
        self.sim.record(call, self)
        self.log(EVENT_LAST, call.lane, call.output_tokens, call.cached, 0)
        self.sim.count_play(call)
        if self.sched.pipeline_depth == 2 and call.stops and self.kind.role != ROLE_PREFILL:
            call.known = call.prompt_tokens + call.output_tokens
            self.start_decode(call, "drain")
        else:
            self.release(call)

    def release(self, call: Call) -> None:
        tokens = call.prompt_tokens + call.output_tokens - 1
        self.keep_tail(call, tokens)
        freed = self.vacate(call, tokens)
        self.log(EVENT_RELEASE, call.lane, freed, self.pool.free, 0)
        if call.ahead:  # it ended with its first token, before it had to move
            call.ahead.rank.unclaim(call)
        call.done.succeed()

    def unclaim(self, call: Call) -> None:
        """Give back a decode seat that was not needed."""
        assert call.ahead, "only a claim can be given back"
        self.parked.remove(call)
        freed = self.give_back(call.ahead)
        call.ahead = None
        self.sim.try_claims(self)
        self.sim.stir(self.worker)  # a call that gave way here and waits to be computed again may fit now
        self.log(EVENT_RELEASE, call.lane, freed, self.pool.free, 0)

    # ---------------------------------------------------------------------------------------------------------- the books

    @property
    def prefill_tokens(self) -> int:
        return sum(tokens for tokens, _ in self.chunks)

    @property
    def served(self) -> list[Call]:
        """Decoding calls that gain tokens in this step."""
        return self.decoding if self.decodes else []

    @property
    def query_tokens(self) -> int:
        return len(self.served) * (1 + self.sched.drafts) + self.prefill_tokens

    @property
    def context_tokens(self) -> int:
        """Summed context of the decoding calls that are served."""
        return sum(call.known * 1000 + call.steps_done * self.sched.accept_milli for call in self.served) // 1000

    @property
    def pairs(self) -> int:
        return sum(tokens * (2 * before + tokens) for tokens, before in self.chunks)

    @property
    def used_blocks(self) -> int:
        return self.pool.size - self.pool.free

    def step_terms_ps(self, experts_ps: int, slow_fp: int = 1 << 10) -> tuple[int, int, int]:
        """This rank's part of the step time: KV reads, decode compute, prefill compute; the latter two slowed by ``slow_fp`` 1,024ths.

        Prefill compute holds ``experts_ps``, what each GPU of the worker does of the expert work of all ranks' prompt tokens.
        """
        law, b = self.kind.law, len(self.served)
        reads = law.seq_ps * b + (law.ctx_fp * self.context_tokens >> 10)
        verify = law.decode_token_ps * b * (1 + self.sched.drafts)
        own_ps = law.prefill_token_ps - law.expert_ps
        fill = own_ps * self.prefill_tokens + experts_ps + (law.pair_fp * self.pairs >> 11)
        return reads, verify * slow_fp >> 10, fill * slow_fp >> 10

    def wanted_pj(self, duration_ps: int, queries: int) -> int:
        """What each of this rank's GPUs would draw in the step if nothing limited it."""
        power = self.kind.power
        hbm_ps = int(power.shared_hbm_ps[min(queries, len(power.shared_hbm_ps) - 1)])
        hbm_ps += power.seq_hbm_ps * len(self.served) + (power.ctx_hbm_fp * self.context_tokens >> 10)
        flop_ps = power.token_flop_ps * self.query_tokens + (power.pair_flop_fp * self.pairs >> 11)
        duration_ns = duration_ps // 1000
        load_pj = power.hbm_mw * (hbm_ps // 1000) + power.flop_mw * (flop_ps // 1000)
        return min(power.floor_mw * duration_ns + load_pj, power.light_mw * duration_ns + (load_pj >> 10) * power.rise_fp)

    def slow_fp(self, duration_ps: int, queries: int) -> int:
        """By how much the power cap stretches this rank's arithmetic, for a step that takes ``duration_ps`` at full clock."""
        table = self.kind.power.slow_fp
        watts = self.wanted_pj(duration_ps, queries) // max(1, duration_ps // 1000) // 1000
        return int(table[min(watts, len(table) - 1)])

    def energy_uj(self, duration_ps: int, queries: int) -> int:
        """What this rank's GPUs draw in the step."""
        power = self.kind.power
        return power.gpus_per_rank * min(self.wanted_pj(duration_ps, queries), power.cap_mw * (duration_ps // 1000)) // 1_000_000

    def log(self, kind: int, lane: int, a: int, b: int, c: int) -> None:
        self.sim.events.append((self.sim.now, kind, self.worker, self.number, lane, a, b, c))


def common(one: list[Hashable], other: list[Hashable]) -> int:
    """Length of the longest common prefix."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
