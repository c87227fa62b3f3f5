"""What a calibration asks next: phases of cells, each sized by the time it may take. Inputs are an endpoint, a budget and the rows so far.

`next_cells` is a pure function, so a run that is resumed goes on where it was: cells that have rows are not asked again. Phases adapt to
what rows have shown: the speed of the endpoint, its block size, when hits fall, when clients bring no more.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
from simulator.calibration.live_budget import next_twin, seen_twins
from simulator.calibration.live_cells import make_cell
from simulator.calibration.live_traits import by_cell, overlap, traits
from simulator.calibration.nnls import Floats, relative_fit

Params = Mapping[str, float]

ALONE = ((), ("replay",), ("twins", "capacity"), (), ("saturation", "replay"))
"""What each round ends with, beside the phases that every round repeats: so a machine that turns slower does so for all of those alike.
Phases that look at rows before they go on have one round; the replay has two, and time for the first is put aside."""

SHARES = {
    "drift": 0.04, "floor": 0.015, "prefill": 0.17, "granularity": 0.015, "branch": 0.015, "decode": 0.14, "context": 0.14,
    "prefix": 0.07, "mixed": 0.08, "twins": 0.05, "capacity": 0.08, "saturation": 0.06, "replay": 0.125,
}  # fmt: skip
"""Share of the budget of each phase, over all rounds; what one leaves over the later ones have."""


class Slot(NamedTuple):
    """One turn of a phase: its ``number`` is that of its cells' repetition, 0 for phases that go on from one cell to the next."""

    phase: str
    number: int


def _slots() -> tuple[Slot, ...]:
    """The whole plan in order, with a drift cell every few phases."""
    found: list[str] = []
    for alone in ALONE:
        found += ["drift", "floor", "prefill", "granularity", "branch", "drift", "decode", "context", "drift", "prefix", "mixed"]
        found += ["drift", *alone] if alone else []
    found.append("drift")
    once = ("twins", "capacity", "saturation")
    return tuple(Slot(phase, 0 if phase in once else found[: place + 1].count(phase)) for place, phase in enumerate(found))


SLOTS = _slots()
TIMES = Counter(slot.phase for slot in SLOTS)
FIRST_REPLAY = SLOTS.index(Slot("replay", 1))

FEWEST = 2
"""Experiments of a phase that the first round asks, whatever they cost."""

SPARSE = 3
"""Of so many drift cells one is asked whatever it costs."""

USUAL_CONTEXT, USUAL_SEATS = 8192, 64
LONGEST_PROMPT = 32_768
"""Longer prompts are not swept: a run that needs them says so with its own budget of days."""

AGENTS = (1, 4, 12)
"""Agents of the replay; what is fitted is never measured on agents."""

GAIN = 0.05
"""A doubling of clients that brings less than this is the last."""

DECODE_CONTEXT = 64
FILLED = 1.3
"""Times that filling contexts in is expected to take, after which those that decode behind them are sent."""

MOST_TIES = 5
"""Cells of one size of twins that may contradict each other before the size is given up."""
FIRST_SPEED = np.array([0.02, 2e-4, 0.02, 2e-4])
"""Guess of seconds per request, prompt token, step and output token, before any row is there."""

STEADY_S = 10.0
"""Seconds from which on the mean draw of a cell says something: NVML's own mean is that of a second."""

FIRST_GAP_S = 0.1
SAFETY = 1.1


def next_cells(endpoint: Endpoint, budget_s: float, cells: Sequence[CellRow], requests: Sequence[RequestRow], seed: int = 0) -> list[Cell]:
    """The cells to run next, in order; none when the plan is done."""
    view = View(endpoint, budget_s, tuple(cells), tuple(requests), speed(cells), seed)
    done = {cell.cell for cell in cells}
    for place in range(max(map(place_of, cells), default=0), len(SLOTS)):
        todo = [cell for cell in view.slot(place) if cell.id not in done]
        if todo:
            return todo
    return []


def place_of(cell: CellRow) -> int:
    """Which slot of the plan a cell belongs to."""
    phase = "twins" if "twin" in cell.params else cell.kind
    return SLOTS.index(Slot(phase, min(cell.repetition, TIMES[phase]) if TIMES[phase] > 1 else 0))


@dataclass(frozen=True)
class Expected:
    """What a calibration will take: seconds at most, and cells and tokens by the guess that there is before it starts."""

    seconds: float
    cells: int
    prompt_tokens: int
    output_tokens: int


def expected(endpoint: Endpoint, budget_s: float, seed: int = 0) -> Expected:
    """Time and tokens of the plan as it looks before it starts. Adaptive phases count as their first cells."""
    view = View(endpoint, budget_s, (), (), FIRST_SPEED, seed)
    cells = [cell for place in range(len(SLOTS)) for cell in view.slot(place)]
    prompt, output = (sum(cell.tokens[i] for cell in cells) for i in (0, 1))
    return Expected(min(budget_s, sum(view.cost_s(cell) for cell in cells)), len(cells), prompt, output)


def work(cell: Cell) -> Floats:
    """What a cell's time goes with: requests of the longest lane, prompt tokens, steps of the longest lane, and output tokens."""
    prompt, output = fresh_tokens(cell), cell.tokens[1]
    requests = max(len(session) for session in cell.sessions)
    steps = max(sum(turn.output_tokens for turn in session) for session in cell.sessions)
    return np.array([requests, prompt, steps, output], dtype=np.float64)


def fresh_tokens(cell: Cell) -> int:
    """Prompt tokens that no request of the cell before had: what is found again costs little."""
    ends: dict[int, int] = {}
    for span in (span for session in cell.sessions for turn in session for span in turn.prompt):
        ends[span.stream] = max(ends.get(span.stream, 0), span.start + span.tokens)
    return sum(ends.values())


def waits_s(cell: Cell) -> float:
    """Pauses of the lane that pauses most."""
    return max(sum(turn.wait_s for turn in session) for session in cell.sessions)


def speed(cells: Sequence[CellRow]) -> Floats:
    """Seconds per request, prompt token, step and output token by the cells so far."""
    made = [(make_cell(row.kind, row.params, row.repetition), row) for row in cells if not row.failed and row.kind in TIMED]
    if len(made) < 4:
        return FIRST_SPEED
    matrix = np.array([work(cell) for cell, _ in made])
    seconds = np.array([max(1e-3, row.end_s - row.start_s - waits_s(cell)) for cell, row in made])
    found = relative_fit(matrix, seconds, prior=FIRST_SPEED, pull=0.01)
    return np.asarray(found)


TIMED = ("floor", "prefill", "decode", "drift")


def cost_s(cell: Cell, rates: Floats) -> float:
    """Seconds that a cell will take."""
    return float(work(cell) @ rates) + waits_s(cell)


def between_s(cells: Sequence[CellRow]) -> float:
    """Seconds between one cell and the next: counters are read, bodies made, connections opened."""
    gaps = [max(0.0, after.start_s - before.end_s) for before, after in pairwise(cells)]
    return sum(gaps) / len(gaps) if gaps else FIRST_GAP_S


def _powers(low: float, high: float, factor: float = 2.0) -> list[int]:
    """From ``low`` to ``high`` in equal ratios, both ends in."""
    count = max(1, round(np.log(high / low) / np.log(factor))) if high > low else 0
    return sorted({round(low * (high / low) ** (i / count)) for i in range(count + 1)}) if count else [round(low)]


def _ends_first(values: Sequence[int]) -> list[int]:
    """The ends, then halves of the gaps: any beginning of the list covers the range."""
    order, gaps = [0, len(values) - 1], [(0, len(values) - 1)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if middle not in (low, high):
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [values[i] for i in dict.fromkeys(order)]


@dataclass(frozen=True)
class View:
    """A plan in progress: what is known, and the cells of each phase as they look from here."""

    endpoint: Endpoint
    budget_s: float
    cells: tuple[CellRow, ...]
    requests: tuple[RequestRow, ...]
    rates: Floats
    seed: int

    @property
    def longest(self) -> int:
        """Longest prompt to send: room for an answer stays."""
        context = self.endpoint.max_context_tokens or USUAL_CONTEXT
        return max(32, min(LONGEST_PROMPT, context - max(16, context // 16)))

    @property
    def seats(self) -> int:
        return self.endpoint.max_seqs or USUAL_SEATS

    def slot(self, place: int) -> list[Cell]:
        """All cells of a slot as far as they are known, those that have rows too."""
        phase, number = SLOTS[place]
        left_s = self.allowance_s(place)
        if phase == "drift":
            cells = [make_cell("drift", {"prompt": min(512, self.longest // 2), "output": 16, "turns": 3}, number)]
            return self.affordable(cells, left_s, 0 if (number - 1) % SPARSE else 1)
        alone = {"twins": self.twins, "capacity": self.capacity, "saturation": self.saturation}.get(phase)
        if alone:
            return list(alone(left_s))
        if phase == "replay":
            cells = [make_cell(phase, params, number) for params in self.replay(left_s)]
            return cells if place == FIRST_REPLAY or sum(map(self.cost_s, cells)) <= left_s else []
        experiments = {
            "floor": self.floor, "prefill": self.prefill, "decode": self.decode, "context": self.context, "mixed": self.mixed,
            "prefix": self.prefix, "branch": self.branch, "granularity": self.granularity,
        }[phase]()  # fmt: skip
        cells = self.affordable([make_cell(phase, params, number) for params in experiments], left_s, FEWEST if number == 1 else 0)
        random.Random(f"{self.seed} {phase} {number}").shuffle(cells)
        return cells

    def allowance_s(self, place: int) -> float:
        """Seconds for a slot: its share, among the slots from it on, of what was left when it began, with time put aside for a replay."""
        shares = [SHARES[slot.phase] / TIMES[slot.phase] for slot in SLOTS]
        planned = 0.0 if self.cells else self.budget_s * sum(shares[:place])
        begun_s = max((cell.end_s for cell in self.cells if place_of(cell) < place), default=planned)
        left_s = self.budget_s - begun_s
        aside_s = self.least_replay_s if place < FIRST_REPLAY else 0.0
        return max(0.0, left_s - aside_s) * shares[place] / sum(shares[place:])

    @cached_property
    def least_replay_s(self) -> float:
        """Seconds of the shortest replay."""
        return sum(self.cost_s(make_cell("replay", params, 1)) for params in self.replay(0.0))

    def cost_s(self, cell: Cell) -> float:
        """Seconds that a cell will take with what comes before and after it, with a margin."""
        return SAFETY * (cost_s(cell, self.rates) + between_s(self.cells))

    def affordable(self, cells: Sequence[Cell], left_s: float, fewest: int) -> list[Cell]:
        """The first cells that fit, at least the ``fewest`` first."""
        chosen: list[Cell] = []
        for cell in cells:
            cost = self.cost_s(cell)
            if cost <= left_s or len(chosen) < fewest:
                chosen.append(cell)
                left_s -= cost
        return chosen

    def asked(self, kind: str, params: Params) -> Params:
        """The parameters of an earlier cell that was like these, so that it is repeated as it was; else these."""
        keys = [key for key in params if key in ("batch", "context", "prompt", "agents")]
        return next((cell.params for cell in self.done(kind, keys[0]) if all(cell.params.get(k) == params[k] for k in keys)), params)

    # ------------------------------------------------------------------------------------------------- experiments, the telling ones first

    def floor(self) -> Iterator[Params]:
        yield {"prompt": 2, "turns": 6}

    def prefill(self) -> Iterator[Params]:
        lengths = _ends_first(_powers(32, self.longest))
        budget = self.endpoint.token_budget or 0
        around = [n for k in (1, 2) for n in (k * budget - budget // 8, k * budget + budget // 8) if budget and 64 < n < self.longest]
        for length in (*lengths, *around):
            yield {"prompt": length, "turns": 2}

    def decode(self) -> Iterator[Params]:
        batches = _ends_first(_powers(1, min(self.seats, 128)))
        rows = by_cell(self.requests)
        peaks = {cell.lanes: overlap(rows.get(cell.cell, ())) for cell in self.done("decode", "batch")}
        full = [(peak + lanes) // 2 for lanes, peak in peaks.items() if lanes == max(peaks) and peak < lanes]
        for batch in (*batches, *full):  # seats show when two batches have the same peak
            yield {"batch": batch, "context": min(DECODE_CONTEXT, self.longest // 2), "output": 48}

    def context(self) -> Iterator[Params]:
        for share in (0.9, 0.25, 0.5):
            for batch in (1, 8, 4, 16):
                if batch <= self.seats:
                    length = int(share * self.longest)
                    wait_s = round(FILLED * batch * float(self.rates[0] + length * self.rates[1]), 2)
                    yield self.asked("context", {"batch": batch, "context": length, "output": 32, "wait_s": wait_s})

    def mixed(self) -> Iterator[Params]:
        for batch, share in ((4, 0.5), (8, 0.25), (1, 0.5), (8, 0.75)):
            if batch < self.seats:
                step_s = float(self.rates[2] + batch * self.rates[3])
                output = min(96, self.longest // 4)
                params = {"batch": batch, "context": DECODE_CONTEXT, "output": output, "prompt": int(share * self.longest), "turns": 2,
                          "wait_s": round(0.2 * output * step_s, 3)}  # fmt: skip
                yield self.asked("mixed", params)

    def prefix(self) -> Iterator[Params]:
        for length in (min(4096, self.longest // 2), self.longest):
            for share in (0.5, 0.97, 0.25, 0.75, 0.9):
                yield {"prompt": length, "shared": int(share * length), "turns": 2}

    def branch(self) -> Iterator[Params]:
        size = min(512, self.longest // 4)
        yield {"shared": size, "tail": size}

    def granularity(self) -> Iterator[Params]:
        yield {"prompt": min(1024, self.longest)}

    def replay(self, left_s: float) -> Iterator[Params]:
        context = self.longest
        size = min(1.0, context / 65_536)
        base = {"prompt_scale": round(size, 4), "output_scale": 0.25, "wait_scale": 0.25, "run_calls": 8, "most_prompt": int(0.9 * context),
                "most_output": min(256, context // 16), "seed": 11 + self.seed}  # fmt: skip
        for agents in AGENTS:
            if agents <= self.seats:
                calls = 24
                while calls > 6 and self.cost_s(make_cell("replay", {**base, "agents": agents, "calls": calls}, 1)) > left_s / len(AGENTS):
                    calls = calls * 3 // 4
                yield self.asked("replay", {"agents": agents, "calls": calls, **base})

    # ---------------------------------------------------------------------------------------------------------- phases that look first

    def done(self, kind: str, key: str) -> list[CellRow]:
        return sorted((cell for cell in self.cells if cell.kind == kind and key in cell.params), key=lambda cell: cell.params[key])

    def capacity(self, left_s: float) -> Iterator[Cell]:
        """Twice as many prompts each time, until some are not found again; somewhat more than the server tells for a beginning."""
        block = traits(self.endpoint, self.cells, self.requests)["block_tokens"].best
        if not isinstance(block, int) or not self.endpoint.cached_tokens:
            return
        length = max(1, min(self.longest, 2048) // block) * block + 1
        prompts = max(4, (self.endpoint.kv_blocks or 0) * 5 // 4 // (length // block) + 1)
        rows = by_cell(self.requests)
        spent = 0.0
        while True:
            cell = make_cell("capacity", {"prompts": prompts, "prompt": length}, 1)
            spent += self.cost_s(cell)
            own = rows.get(cell.id)
            if own is None and spent > left_s:
                return
            yield cell
            if own is None:
                return
            cached = [row.cached_tokens or 0 for row in own if row.measured]
            if not cached or min(cached) < length - 1:
                again = make_cell("capacity", cell.params, 2)
                if again.id in rows or self.cost_s(again) <= left_s - spent:
                    yield again
                return
            prompts *= 2

    def twins(self, left_s: float) -> Iterator[Cell]:
        """Pairs of prompts of the sizes that rule out most token budgets."""
        asked = self.done("mixed", "twin")
        spent = sum(cell.end_s - cell.start_s for cell in asked)
        seen = seen_twins(asked, by_cell(self.requests), self.shortest_step_s)
        told = {one.twin for one in seen}
        sizes = Counter(int(cell.params["twin"]) for cell in asked)
        tied = next((size for size, count in sizes.items() if size not in told and count < MOST_TIES), None)
        size = next_twin(seen, self.longest) if tied is None else tied
        if size is None or spent > left_s or (tied is None and size in sizes):
            return
        wait_s = round(max(0.002, 0.25 * float(self.rates[1]) * self.longest), 4)
        params = next((cell.params for cell in asked if cell.params["twin"] == size), None)
        params = params or {"twin": size, "blocker": self.longest, "wait_s": wait_s}
        first = sizes[size] + 1
        yield from (make_cell("mixed", params, number) for number in ((first,) if tied else (first, first + 1)))

    @property
    def shortest_step_s(self) -> float:
        """Seconds per token of one sequence alone."""
        single = {cell.cell for cell in self.cells if cell.kind == "decode" and cell.params.get("batch") == 1}
        times = [row.tpot_s for row in self.requests if row.cell in single and row.tpot_s is not None]
        return float(np.median(times)) if times else float(self.rates[2])

    def saturation(self, left_s: float) -> Iterator[Cell]:
        """Twice as many clients each time, until output grows by less than `GAIN`."""
        prompt, output = min(256, self.longest // 4), min(64, self.longest // 4)
        clients, before, spent = 1, 0.0, 0.0
        while clients <= 4 * self.seats:
            params = {"clients": clients, "prompt": prompt, "output": output, "turns": 2}
            if self.endpoint.facts.get("power"):  # watts are read off cells that last
                params["turns"] *= max(1, math.ceil(STEADY_S / cost_s(make_cell("saturation", params, 1), self.rates)))
            cell = make_cell("saturation", params, 1)
            row = next((row for row in self.cells if row.cell == cell.id), None)
            spent += self.cost_s(cell) if row is None else row.end_s - row.start_s
            if row is None and spent > left_s and clients > 1:
                return
            yield cell
            if row is None:
                return
            rate = cell.tokens[1] / max(1e-9, row.end_s - row.start_s)
            if before and rate < (1 + GAIN) * before:
                return
            clients, before = 2 * clients, rate
