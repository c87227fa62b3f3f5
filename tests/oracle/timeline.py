"""Fleets of several pools and workers in which a step takes one second, and what each worker computed, second by second, as text."""

from collections.abc import Callable, Sequence

import numpy as np

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.world import (
    CALL_COLUMNS,
    EVENT_CHUNK,
    EVENT_LAND,
    EVENT_PREEMPT,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_STEP,
    ROLE_PREFILL,
    Pool,
)
from simulator.units import PS_PER_S
from tests.oracle.schedules import Request

Engine = Callable[[World], Output]


def kernel(world: World) -> Output:
    return simulate_kernel(world, events=True)


ENGINES = {"kernel": kernel, "reference": simulate_reference}


def with_pools(world: World, *pools: Pool, **fleet: int) -> World:
    """The world's load on other machines."""
    return world._replace(fleet=world.fleet._replace(pools=pools, **fleet))


def pool_like(world: World, *, blocks: int | None = None, **options: int) -> Pool:
    """The world's own pool with other fields, those of its schedule among them."""
    (pool,) = world.fleet.pools
    own = {name: value for name, value in options.items() if name in pool._fields}
    rest = {name: value for name, value in options.items() if name not in own}
    changed = pool._replace(**own, sched=pool.sched._replace(**rest))
    return changed if blocks is None else changed._replace(blocks_per_rank=blocks)


def timeline(world: World, output: Output, requests: Sequence[Request], letters: str = "") -> dict[str, str]:
    """``P2`` -> what worker P did in the second second, as ``A1 B40 -C f29``: decode steps in the order in which they began, prefill
    chunks, who gave way, blocks left free; ranks of a worker are told apart by bars. One worker needs no letter."""
    names = [request.name for request in requests]
    prefills = [pool.role == ROLE_PREFILL for pool in world.fleet.pools for _ in range(pool.workers)]
    decoding: dict[tuple[int, int], list[int]] = {}
    chunks: dict[int, int] = {}
    ready: list[int] = []
    gone: list[int] = []
    work: dict[int, list[str]] = {}
    table = {}
    for time_ps, kind, worker, rank, lane, a, b, c in output.events.tolist():
        own = decoding.setdefault((worker, rank), [])
        if kind == EVENT_CHUNK:
            chunks[lane] = a
            ready += [lane] if b == c and not prefills[worker] else []
        elif kind == EVENT_LAND and c == 0 and not world.fleet.first_token:
            own.append(lane)
        elif kind in (EVENT_PREEMPT, EVENT_RELEASE):
            if lane in own:
                own.remove(lane)
            gone += [lane] if kind == EVENT_PREEMPT else []
        elif kind == EVENT_RANK:
            assert a in (0, len(own)), "the log says which calls decode"
            decodes = [f"{names[who]}1" for who in own] if a else []
            fills = [f"{names[who]}{tokens}" for who, tokens in chunks.items()]
            shown = " ".join([*decodes, *fills, *(f"-{names[who]}" for who in gone), f"f{c}"])
            work[worker] = [*work[worker], shown] if rank else [shown]  # a look in which nothing ran is no step
            own += ready
            chunks, ready, gone = {}, [], []
        elif kind == EVENT_STEP:
            table[f"{letters[worker] if letters else ''}{time_ps // PS_PER_S + 1}"] = " | ".join(work[worker])
    return table


def assert_timeline(world: World, output: Output, requests: Sequence[Request], expected: str, letters: str = "") -> None:
    """``expected`` has lines ``P2: work`` or ``P2-5: work``; free blocks are compared where it names them."""
    got = timeline(world, output, requests, letters)
    want = {}
    for line in expected.strip().splitlines():
        when, _, work = line.strip().partition(": ")
        letter = when[0] if letters else ""
        first, _, last = when.removeprefix(letter).partition("-")
        want |= {f"{letter}{step}": work for step in range(int(first), int(last or first) + 1)}
    shown = {step: got[step] if " f" in f" {work}" else without_free(got[step]) for step, work in want.items() if step in got}
    assert shown == want, got
    assert set(got) == set(want), got


def without_free(work: str) -> str:
    return " ".join(part for part in work.split() if not part.startswith("f"))


def stages(output: Output, *names: str) -> dict[int, tuple[float, ...]]:
    """Agent -> the times of these stages of its call, in seconds; -1 for a stage that it did not pass."""
    times = output.calls[:, [CALL_COLUMNS.index(f"{name}_ps") for name in names]]
    seconds = np.where(times >= 0, times / PS_PER_S, -1)
    return {agent: tuple(row) for agent, row in sorted(zip(output.calls[:, 0].tolist(), seconds.tolist(), strict=True))}


def by_agent(output: Output, name: str) -> list[int]:
    """A column of the calls, in the order of agents."""
    order = np.argsort(output.calls[:, 0], kind="stable")
    return output.calls[order, CALL_COLUMNS.index(name)].tolist()  # type: ignore[no-any-return]
