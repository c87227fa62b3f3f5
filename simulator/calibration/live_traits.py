"""What an endpoint's engine is like, found by experiment: KV blocks and their size, kind of prefix cache, eviction, token budget, seats.

Inputs are the rows of a calibration. None is what no cell has shown; what the server tells by itself stands beside it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simulator.calibration.cell import CellRow, Endpoint, RequestRow
from simulator.calibration.live_budget import budgets_left, seen_twins
from simulator.calibration.live_cells import SHARES

BLOCKS, SLOTS, NONE = "blocks", "slots", "none"
ENOUGH = 0.5
"""A prompt counts as found again when more than this share of what could be found was."""

USUAL_BUDGET = 2048
"""vLLM's default below 70 GB."""

FEW = 32
"""Budgets that agree with what was seen, more than which say nothing."""


@dataclass(frozen=True)
class Trait:
    """One property: what experiments showed (``low`` to ``high``), what the server tells, and the cells that showed it."""

    name: str
    value: int | float | str | None
    low: float | None = None
    high: float | None = None
    told: int | float | str | None = None
    cells: tuple[str, ...] = ()
    slack: int = 0
    """By how much both may differ: engines that keep a block for themselves count it in what they tell."""

    @property
    def best(self) -> int | float | str | None:
        """The experiment's value, else what the server tells."""
        return self.told if self.value is None else self.value

    @property
    def agrees(self) -> bool | None:
        """Whether experiment and server say the same; None where one of them says nothing."""
        if self.value is None or self.told is None:
            return None
        if self.low is not None and self.high is not None and not isinstance(self.told, str):
            return self.low - self.slack <= self.told <= self.high + self.slack
        return self.value == self.told


Rows = Mapping[str, Sequence[RequestRow]]
"""Requests by the id of their cell, in order of session and turn."""


def by_cell(requests: Iterable[RequestRow]) -> dict[str, list[RequestRow]]:
    """Requests by cell, in order of session and turn."""
    found: dict[str, list[RequestRow]] = {}
    for row in sorted(requests, key=lambda row: (row.session, row.turn)):
        found.setdefault(row.cell, []).append(row)
    return found


def traits(endpoint: Endpoint, cells: Sequence[CellRow], requests: Iterable[RequestRow], floor_s: float = 0.0) -> dict[str, Trait]:
    """All properties by name. ``floor_s`` is the shortest step seen, by which twins are told apart."""
    rows = by_cell(requests)
    good = [cell for cell in cells if not cell.failed]
    block = block_size(endpoint, good, rows)
    found = [
        block,
        cache_kind(good, rows),
        kv_blocks(endpoint, good, rows, block.best),
        eviction(good, rows),
        token_budget(endpoint, good, rows, floor_s),
        seats(endpoint, good, rows),
    ]
    return {trait.name: trait for trait in found}


def _of(kind: str, cells: Sequence[CellRow]) -> list[CellRow]:
    return [cell for cell in cells if cell.kind == kind]


def block_size(endpoint: Endpoint, cells: Sequence[CellRow], rows: Rows) -> Trait:
    """Tokens of a block: the largest size whose whole blocks give every count of cached tokens."""
    seen: list[tuple[int, int]] = []
    used = _of("granularity", cells)
    for cell in used:
        pairs = [row for row in rows.get(cell.cell, ()) if row.measured]
        fitting = [shared for shared in SHARES if shared < cell.params["prompt"]]
        seen += [(shared, row.cached_tokens) for shared, row in zip(fitting, pairs, strict=False) if row.cached_tokens is not None]
    hits = [cached for _, cached in seen if cached]
    most = max((shared for shared, _ in seen), default=0)
    sizes = [size for size in range(1, most + 1) if all(shared // size * size == cached for shared, cached in seen)] if hits else []
    value = max(sizes) if sizes else (math.gcd(*hits) if len(hits) > 1 else None)
    return Trait("block_tokens", value, None, None, endpoint.block_tokens, tuple(cell.cell for cell in used if hits))


def cache_kind(cells: Sequence[CellRow], rows: Rows) -> Trait:
    """A-B-A: a block cache still has all of A, a slot only what A shares with B, no cache nothing."""
    votes = []
    used = _of("branch", cells)
    for cell in used:
        shared, tail = cell.params["shared"], cell.params["tail"]
        cached = [row.cached_tokens for row in rows.get(cell.cell, ())]
        if len(cached) == 3 and cached[1] is not None and cached[2] is not None:
            found = BLOCKS if cached[2] > shared + ENOUGH * tail else SLOTS if cached[2] > ENOUGH * shared else NONE
            votes.append(found)
    value = max(set(votes), key=votes.count) if votes else None
    return Trait("prefix_cache", value, cells=tuple(cell.cell for cell in used if votes))


def kv_blocks(endpoint: Endpoint, cells: Sequence[CellRow], rows: Rows, block: int | float | str | None) -> Trait:
    """Blocks that the cache holds: those found again, newest first, up to the first prompt that was not found whole, and one in use."""
    name, told = "kv_blocks", endpoint.kv_blocks
    low = 0
    found: list[int] = []
    used: list[str] = []
    for cell in _of("capacity", cells):
        again = [row.cached_tokens for row in rows.get(cell.cell, ()) if row.measured and row.cached_tokens is not None]
        if not again or not isinstance(block, int):
            continue
        whole = (int(cell.params["prompt"]) - 1) // block
        counts = [cached // block for cached in again]
        short = next((number for number, count in enumerate(counts) if count < whole), None)
        used.append(cell.cell)
        if short is None:
            low = max(low, whole * len(counts) + 1)
        elif short:
            found.append(sum(counts[: short + 1]) + 1)
    if not found:
        return Trait(name, None, low or None, None, told, tuple(used))
    found.sort()
    return Trait(name, found[len(found) // 2], found[0], found[-1], told, tuple(used), slack=1)


def eviction(cells: Sequence[CellRow], rows: Rows) -> Trait:
    """``lru`` when the prompts that were lost are the oldest, ``other`` when an older one was kept over a newer one."""
    votes, used = [], []
    for cell in _of("capacity", cells):
        cached = [row.cached_tokens or 0 for row in rows.get(cell.cell, ()) if row.measured]
        kept = [count > ENOUGH * cell.params["prompt"] for count in cached]
        if kept and any(kept) and not all(kept):
            votes.append("lru" if kept == sorted(kept, reverse=True) else "other")
            used.append(cell.cell)
    return Trait("eviction", max(set(votes), key=votes.count) if votes else None, cells=tuple(used))


def token_budget(endpoint: Endpoint, cells: Sequence[CellRow], rows: Rows, floor_s: float) -> Trait:
    """Query tokens of a step: of the budgets that explain which twins came together the one nearest to what is usual."""
    seen = seen_twins(cells, rows, floor_s)
    told, used = endpoint.token_budget, tuple(one.cell for one in seen)
    left = budgets_left(seen)
    apart = any(not one.together for one in seen)
    if not seen or not apart:
        return Trait("token_budget", None, 2 * max((one.twin for one in seen), default=0) or None, None, told, used)
    likely = min(left, key=lambda budget: abs(math.log(budget / USUAL_BUDGET)))
    return Trait("token_budget", likely if len(left) < FEW else None, left[0], left[-1], told, used)


def seats(endpoint: Endpoint, cells: Sequence[CellRow], rows: Rows) -> Trait:
    """Sequences that run side by side: as many as ever did, where more clients bring no more; else at least as many as ever did."""
    peaks: dict[int, int] = {}
    used: dict[int, str] = {}
    for cell in (cell for cell in cells if cell.kind in ("decode", "saturation")):
        running = overlap(rows.get(cell.cell, ()))
        if running > peaks.get(cell.lanes, 0):
            peaks[cell.lanes], used[cell.lanes] = running, cell.cell
    most = max(peaks.values(), default=0)
    full = [lanes for lanes, running in peaks.items() if running == most < lanes]
    if len(full) < 2:
        return Trait("max_seqs", None, most or None, None, endpoint.max_seqs)
    return Trait("max_seqs", most, most, most, endpoint.max_seqs, tuple(used[lanes] for lanes in full))


def overlap(rows: Sequence[RequestRow]) -> int:
    """Most requests between first and last token at once."""
    marks = [(row.first_s, 1) for row in rows if row.first_s is not None and row.last_s is not None]
    marks += [(row.last_s, -1) for row in rows if row.first_s is not None and row.last_s is not None]
    now = most = 0
    for _, step in sorted(marks):  # an end before a beginning at the same moment
        now += step
        most = max(most, now)
    return most
