"""Hand-made worlds of a few requests in which a step takes one second, and the schedule read back from an event log as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.engine.world import (
    EVENT_CHUNK,
    EVENT_FIRST,
    EVENT_LAST,
    EVENT_PREEMPT,
    EVENT_RANK,
    EVENT_RELEASE,
    EVENT_STEP,
    ROLE_MIXED,
    ROUTER_AFFINITY,
    Fleet,
    Output,
    Pool,
    Sched,
    Stop,
    World,
)
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.arrays import SCOPE_ALL, SCOPE_PLAY, Calls, PrefixTree, single_threads

BLOCK = 32


@dataclass(frozen=True)
class Request:
    """A request: ``prompt`` tokens of which the leading blocks are those of the content named ``text``, arriving before step ``at``."""

    name: str
    prompt: int
    output: int
    at: int = 1
    text: str = ""
    stop: bool = False


def ints(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


def world_of(requests: Sequence[Request], blocks: int, budget: int, texts: Mapping[str, int] | None = None, **options: int) -> World:
    """One worker of one rank; ``texts`` gives the blocks of each shared content, ``options`` change the vLLM defaults."""
    parent: list[int] = []
    start: list[int] = []
    size: list[int] = []
    scope: list[int] = []
    leaf, answer = [], []

    def node(above: int, first: int, last: int, whose: int) -> int:
        if last <= first:
            return above
        parent.append(above)
        start.append(first)
        size.append(last - first)
        scope.append(whose)
        return len(parent) - 1

    text_node = {text: node(-1, 0, n, SCOPE_ALL) for text, n in (texts or {}).items()}
    for request in requests:
        full = request.prompt // BLOCK
        if request.text:
            above, done = text_node[request.text], min(full, size[text_node[request.text]])
        else:
            above, done = -1, 0
        leaf.append(node(above, done, full, SCOPE_PLAY))
        end = node(leaf[-1], full, (request.prompt + request.output - 1) // BLOCK, SCOPE_PLAY)
        answer.append(end if end != leaf[-1] else -1)
    count = len(requests)
    output = ints([request.output for request in requests])
    calls = Calls(
        first=np.arange(count + 1, dtype=np.int64),
        prompt_tokens=ints([request.prompt for request in requests]),
        output_tokens=output,
        decode_steps=output - 1,
        tool_ps=np.zeros(count, np.int64),
        stops=ints([int(request.stop) for request in requests]),
        leaf=ints(leaf),
        answer=ints(answer),
    )
    sched = Sched(
        token_budget=budget,
        max_seqs=16,
        long_prefill_cap=0,
        prefill_interval=1,
        admit_reserve=1,
        watermark_blocks=0,
        pipeline_depth=1,
        prefix_cache=1,
        drafts=0,
        accept_milli=1000,
        lookahead=0,
    )._replace(**options)
    zeros = np.zeros(2, np.int64)
    law = StepLaw(PS_PER_S, zeros, 0, 0, 0, 0, 0)
    power = PowerLaw(1000, 0, 0, 1000, 0, 1, zeros, 0, 0, 0, 0)
    pool = Pool(ROLE_MIXED, 1, 1, blocks, 0, sched, law, power)
    starts = ints([(request.at - 1) * PS_PER_S for request in requests])
    fleet = Fleet((pool,), BLOCK, ROUTER_AFFINITY, starts, np.arange(count, dtype=np.int64))
    tree = PrefixTree(ints(parent), ints(start), ints(size), ints(scope))
    return World(calls, single_threads(calls.first), tree, fleet, Stop(0, 0, 10**9, 0, 10_000 * PS_PER_S, 1))


def steps_of(output: Output, requests: Sequence[Request]) -> dict[int, str]:
    """Step number -> what was computed for whom and the blocks left free, as ``A40 B24 f29``; ``-C`` marks a preemption."""
    names = [request.name for request in requests]
    decoding: dict[int, None] = {}
    ready: dict[int, None] = {}
    chunks: dict[int, int] = {}
    gone: list[int] = []
    free = 0
    table = {}
    for time_ps, kind, _, _, agent, a, b, c in output.events.tolist():
        if kind == EVENT_CHUNK:
            chunks[agent] = a
            if b == c:
                ready[agent] = None
        elif kind == EVENT_PREEMPT:
            decoding.pop(agent, None)
            gone.append(agent)
        elif kind == EVENT_RANK:
            free = c
        elif kind == EVENT_STEP:
            done = [f"{names[who]}1" for who in decoding] + [f"{names[who]}{n}" for who, n in chunks.items()]
            table[time_ps // PS_PER_S + 1] = " ".join([*done, *(f"-{names[who]}" for who in gone), f"f{free}"])
            decoding |= ready
            chunks, gone, ready = {}, [], {}
        elif kind == EVENT_RELEASE:
            decoding.pop(agent, None)
        else:
            assert kind not in (EVENT_FIRST, EVENT_LAST) or time_ps % PS_PER_S == 0
    return table


def assert_schedule(output: Output, requests: Sequence[Request], expected: str) -> None:
    """``expected`` lists ``first-last: work`` or ``step: work``, one a line; free blocks are compared where it names them."""
    got = steps_of(output, requests)
    want = {}
    for line in expected.strip().splitlines():
        when, _, work = line.strip().partition(": ")
        first, _, last = when.partition("-")
        for step in range(int(first), int(last or first) + 1):
            want[step] = work
    assert set(got) == set(want), (got, want)
    for step, work in want.items():
        shown = got[step] if " f" in f" {work}" else " ".join(part for part in got[step].split() if not part.startswith("f"))
        assert shown == work, f"step {step}: {got[step]!r}, vLLM did {work!r}"
