"""Speed of the engines, measured on this machine and written as docs/benchmarks.md: `make bench` prints it.

usage: bench_all.py [--peer PYTHON] [--rounds N] [--reference-agents N] > docs/benchmarks.md

Every figure is a median of its rounds; what is compared runs in turns (A B A B). The load is that of `bench_engine`: runs of 30 calls whose
context grows from 12,000 to 100,000 tokens over a shared 8,192. The peer is left out where its interpreter is not given. Sections print
when they are done, the goals at the end; progress goes to stderr.
"""

import argparse
import importlib.metadata
import os
import platform
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench_engine import BLOCK_TOKENS, column, load_of, pool_of, set_of, timed, world_of
from bench_questions import questions
from peer import peak_of, replay, write_trace

from simulator.engine import World, simulate_kernel, simulate_reference
from simulator.engine.kernel import CALL_ROWS, COASTED, SLOTS_FREE, SLOTS_USED, T_EVICTED, advanced, flat, new_state
from simulator.engine.world import ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, ROUTER_PREFIX
from simulator.units import PS_PER_S
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import TrajectorySet

ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, float]
"""What goals ask about, by name."""
PER_CALL = ("", "calls", "seconds", "µs per call", "steps", "of them taken in runs", "steps/s")


def sheet(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a Markdown table."""
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


LEAST_S = 0.5
"""Seconds over which a line of a table is measured at least."""

CALLS = 300_000
"""Of each line of the table by agents."""

STATED_CALLS_S = 9_000
"""Calls/s of the peer with 1,000 agents on one worker, on the quiet machine of two cores that the goals were set beside."""


class Cost(NamedTuple):
    """Of one world on the kernel: median seconds, calls, steps, and how many of those were taken in runs (nobody joins or leaves)."""

    name: str
    seconds: float
    calls: int
    steps: int
    coasted: int

    @property
    def cells(self) -> list[str]:
        rates = [f"{self.call_us:.2f}", f"{self.steps:,}", f"{self.coasted / self.steps:.0%}", f"{self.steps / self.seconds / 1e6:.2f} M"]
        return [self.name, f"{self.calls:,}", f"{self.seconds:.3f}", *rates]

    @property
    def call_us(self) -> float:
        return self.seconds / self.calls * 1e6


def cost(name: str, world: World, rounds: int) -> Cost:
    """One line of a table by call and by step. What takes milliseconds is played more often, for it swings most. No output is kept: its
    memory serves the next run."""
    print(name, file=sys.stderr)
    runs = [timed(simulate_kernel, world)[0] for _ in range(rounds)]
    while sum(runs) < LEAST_S:
        runs.append(timed(simulate_kernel, world)[0])
    state = advanced(flat(world), new_state(world, False))
    calls, steps, coasted = int(state.clock[CALL_ROWS]), int(state.series[:, :, 0].sum()), int(state.clock[COASTED])
    return Cost(name, statistics.median(runs), calls, steps, coasted)


def our_peak_mib(agents: int, turns: int, workers: int, blocks: int) -> float:
    """Peak memory of a process that makes the same load and plays it."""
    code = f"import bench_all; bench_all.simulate_kernel(bench_all.fleet_of({agents}, {turns}, {workers}, {blocks}))"
    where = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
    return peak_of([sys.executable, "-c", code], where)


def fleet_of(agents: int, turns: int, workers: int, blocks: int) -> World:
    """Mixed workers of one rank; several are chosen by prefix, as the peer's router does."""
    world = world_of(load_of(agents, turns), pool_of(ROLE_MIXED, workers, 1, blocks))
    return world if workers == 1 else world._replace(fleet=world.fleet._replace(router=ROUTER_PREFIX))


def against_peer(python: str, rounds: int) -> Figures:
    """Kernel and peer in turns on the same calls."""
    rows, found, speed = [], {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for agents, workers in ((100, 1), (100, 8), (1_000, 1), (1_000, 8)):
            blocks = 262_144 // workers
            trace = Path(folder) / "trace.jsonl"
            write_trace(set_of(agents, 30), 60.0, trace)
            world = fleet_of(agents, 30, workers, blocks)
            output = simulate_kernel(world)
            calls, tokens, cached = (
                len(output.calls),
                int(column(output, "output_tokens").sum()),
                int(column(output, "cached_tokens").sum()),
            )
            del output
            ours, theirs = [], []
            for _ in range(rounds):
                print(f"peer: {agents} agents, {workers} workers", file=sys.stderr)
                ours += [timed(simulate_kernel, world)[0] for _ in range(5)]
                theirs.append(replay(python, trace, workers, blocks, Path(folder) / "report.json"))
            seconds, peer_s, report = statistics.median(ours), statistics.median(run.seconds for run in theirs), theirs[0]
            equal = (calls / report.calls, tokens / report.output_tokens, cached / report.reused_tokens)
            ours_mib, theirs_mib = our_peak_mib(agents, 30, workers, blocks), max(run.peak_mib for run in theirs)
            found[agents, workers] = peer_s / seconds, ours_mib / theirs_mib
            speed = report.calls / peer_s if (agents, workers) == (1_000, 1) else speed
            rows.append(
                [
                    f"{agents:,} agents, {workers} worker{'s' * (workers > 1)}",
                    f"{calls / seconds:,.0f}",
                    f"{report.calls / peer_s:,.0f}",
                    f"**{peer_s / seconds:,.0f}**",
                    " / ".join(f"{x:.4f}" for x in equal),
                    f"{ours_mib:,.0f} / {theirs_mib:,.0f}",
                ]
            )
    print(
        "## Beside the peer\n\nDynamo 1.4.2's offline replay (Rust) of the same calls, blocks of 512 tokens, "
        "262,144 blocks in all; its own time of replaying. "
        "Ours runs five times in each turn, for it takes milliseconds. "
        "Where reused tokens differ the router spread the agents otherwise, and the work is not equal.\n"
    )
    sheet(
        ("load", "calls/s, ours", "calls/s, peer", "ratio", "ours/peer: calls, output tokens, reused tokens", "peak MiB, ours / peer"), rows
    )
    return {
        "peer, 1,000 agents, times": found[1_000, 1][0],
        "memory over the peer's": found[1_000, 1][1],
        "peer's calls/s": speed,
    }


def against_reference(agents: int, rounds: int) -> Figures:
    """Kernel and reference on one worker: equal calls, or this fails."""
    world = fleet_of(agents, 30, 1, 262_144)
    slow_s, slow = timed(lambda world: simulate_reference(world, events=False, verify=False), world)
    assert np.array_equal(slow.calls, simulate_kernel(world).calls), "two engines, one meaning"
    seconds = statistics.median(timed(simulate_kernel, world)[0] for _ in range(5 * rounds))
    print("## Beside the reference\n")
    sheet(
        ("load", "reference s (1 run)", "kernel s", "ratio", "output tokens/s, kernel"),
        [
            [
                f"{agents:,} agents x 30 calls",
                f"{slow_s:.1f}",
                f"{seconds:.4f}",
                f"**{slow_s / seconds:,.0f}**",
                f"{column(slow, 'output_tokens').sum() / seconds / 1e6:,.0f} M",
            ]
        ],
    )
    return {"reference, times": slow_s / seconds}


def as_agents_grow(rounds: int) -> Figures:
    """Cost per call and step of the same runs and the same number of calls, so that nothing grows but the agents; all counts in turns, for
    a machine that is faster now than then."""
    print(
        f"## As agents grow\n\n{CALLS:,} calls in every line, of the same 1,000 runs: few agents play many of them, 100,000 the first "
        "three calls of one. One worker, tool delays as long as it takes for the same calls/s, a KV pool that holds every context. "
        f"Medians of {rounds} turns.\n"
    )
    runs, worlds = set_of(1_000, 30), {}
    for agents, turns in ((10, 30), (100, 30), (1_000, 30), (10_000, 30), (100_000, 3)):
        plays = CALLS // (agents * turns)
        worlds[f"{agents:,} agents, {plays:,} x {turns} calls each"] = many_agents(runs, agents, turns, plays)
    turns_of: list[list[Cost]] = [[cost(name, world, 1) for name, world in worlds.items()] for _ in range(rounds)]
    rows = [each[0]._replace(seconds=statistics.median(cost.seconds for cost in each)) for each in zip(*turns_of, strict=True)]
    assert all(each.calls == CALLS for each in rows), "equal work"
    sheet(PER_CALL, [each.cells for each in rows])
    flat_us = [each.call_us for each in rows[1:]]
    return {"cost per call, most over least": max(flat_us) / min(flat_us), "steps/s": max(each.steps / each.seconds for each in rows)}


def many_agents(runs: TrajectorySet, agents: int, turns: int, plays: int) -> World:
    """Agents that each play so many of the runs, up to so many calls of each."""
    cut = replace(runs, trajectories=tuple(replace(run, calls=run.calls[:turns]) for run in runs.trajectories))
    load = compile_calls(cut, block_tokens=BLOCK_TOKENS, marker="after_system", stops=False)
    world = world_of(load, pool_of(ROLE_MIXED, 1, 1, 210 * max(1_000, agents)), agents=agents, plays=plays)
    return world._replace(calls=load.calls._replace(tool_ps=load.calls.tool_ps * max(1, agents // 1_000)))


def as_worlds_grow(rounds: int) -> None:
    """Cost per call and step by context, by ranks, and by what the cache holds."""
    print("## As contexts grow\n\n100 agents of 30 calls; the context grows to what is said.\n")
    longest = ((1_000, 200), (10_000, 1_200), (100_000, 12_000), (1_000_000, 120_000))
    loads = [
        (last, compile_calls(set_of(100, 30, min(200, first), first, last), block_tokens=BLOCK_TOKENS, marker="after_system", stops=False))
        for last, first in longest
    ]
    sheet(PER_CALL, [cost(f"{last:,} tokens", world_of(load, pool_of(ROLE_MIXED, 1, 1, 262_144)), rounds).cells for last, load in loads])
    print("## As ranks grow\n\n30 agents of 30 calls a rank, one worker in lockstep.\n")
    ranks = [cost(f"{n} ranks", world_of(load_of(30 * n, 30), pool_of(ROLE_MIXED, 1, n, 16_384)), rounds) for n in (1, 8, 32, 72)]
    load = load_of(2_000, 30)
    ranks.append(
        cost("24 + 8 ranks, moving KV", world_of(load, pool_of(ROLE_PREFILL, 3, 8, 32_768), pool_of(ROLE_DECODE, 1, 8, 32_768)), rounds)
    )
    sheet(PER_CALL, [each.cells for each in ranks])
    print("## As the cache fills\n\n1,000 agents whose prompts grow by a block a call, nothing shared and nothing evicted.\n")
    sheet(("segments at the end", "blocks", "calls", "µs per call"), [filled(plays) for plays in (6, 54, 540)])


def filled(plays: int) -> list[str]:
    """One line: agents that play so often, with a KV pool that holds all of it."""
    print(f"cache: {plays} plays", file=sys.stderr)
    agents, turns = 1_000, 30
    blocks = agents * 2 * turns * (plays + 1)
    few = compile_calls(set_of(agents, turns, 0, BLOCK_TOKENS, BLOCK_TOKENS * turns), block_tokens=BLOCK_TOKENS, stops=False)
    world = world_of(few, pool_of(ROLE_MIXED, 1, 1, blocks))
    world = world._replace(stop=world.stop._replace(max_plays_per_agent=plays, max_ps=6 * 10**5 * PS_PER_S))
    load, state = flat(world), new_state(world, False)
    seconds, state = timed(lambda world: advanced(load, state), world)
    assert not state.totals[:, T_EVICTED].any()
    segments, calls = int(state.clock[SLOTS_USED] - state.clock[SLOTS_FREE]), int(state.clock[CALL_ROWS])
    return [f"{segments:,}", f"{blocks:,}", f"{calls:,}", f"{seconds / calls * 1e6:.2f}"]


def what_questions_cost() -> Figures:
    """Processes from start to end; seconds by name."""
    found = questions()
    print(
        "## What a question costs\n\nProcesses of their own from start to end, the first with nothing compiled; "
        "CPU seconds of all they start. Last, what is asked again takes in the process that has answered it: code, workload arrays "
        "and memory are warm there.\n"
    )
    sheet(("process", "seconds", "CPU seconds"), [[name, f"{each.seconds:.2f}", f"{each.cpu_s:.2f}"] for name, each in found.items()])
    compiling, again, helping, _, published, rack, comparison, warm_published, warm_rack = found.values()
    return {
        "first compile, CPU s": compiling.cpu_s - again.cpu_s,
        "--help, s": helping.seconds,
        "capacity of a rack, CPU s": rack.cpu_s,
        "capacity of 32 GPUs, CPU s": published.cpu_s,
        "capacity of a rack again, CPU s": warm_rack.cpu_s,
        "capacity of 32 GPUs again, CPU s": warm_published.cpu_s,
        "make compare, s": comparison.seconds,
    }


def memory() -> Figures:
    """Bytes that one more idle agent takes in the engine."""
    few, many = (new_state(fleet_of(agents, 2, 1, 1_000), False) for agents in (1_000, 11_000))
    taken = sum(b.nbytes - a.nbytes for name, a, b in zip(few._fields, few, many, strict=True) if name != "calls") / 10_000
    print(
        f"## Memory\n\nAn idle agent takes {taken:,.0f} bytes of the engine's tables; "
        f"a cached segment {few.slots.itemsize * few.slots.shape[1]} bytes.\n"
    )
    return {"bytes of an idle agent": taken}


GOALS = (
    ("calls/s at 1,000 agents on one worker, over the peer's", "peer, 1,000 agents, times", ">=", 100, "times"),
    ("peak memory there, over the peer's", "memory over the peer's", "<=", 1, "times"),
    ("speed, over the reference's", "reference, times", ">=", 1_000, "times"),
    ("steps/s, the most of the agents' table", "steps/s", ">=", 5_000_000, "steps/s"),
    ("cost per call from 100 to 100,000 agents, most over least", "cost per call, most over least", "<=", 2, "times"),
    ("an idle agent", "bytes of an idle agent", "<=", 2_000, "bytes"),
    ("first compile", "first compile, CPU s", "<=", 20, "CPU s"),
    ("`agentwatt --help`", "--help, s", "<=", 0.3, "s"),
    (
        "`capacity` of a rack of 72 GPUs at one SLO, one seed, one core, code, arrays and memory warm",
        "capacity of a rack again, CPU s",
        "<=",
        5,
        "CPU s",
    ),
    ("the same, a process from start to end", "capacity of a rack, CPU s", "<=", 5, "CPU s"),
    ("the same of the published 32 GPUs, warm", "capacity of 32 GPUs again, CPU s", "<=", 5, "CPU s"),
    ("the 32 GPUs, a process from start to end", "capacity of 32 GPUs, CPU s", "<=", 5, "CPU s"),
    ("`make compare`, warm", "make compare, s", "<=", 10, "s"),
)
"""What is asked: words, figure, relation, value, unit."""


CAUSES = {
    "cost per call, most over least": "few of 100 agents share a step, and 100,000 do not fit the processor's caches",
    "capacity of a rack, CPU s": "what it takes more than when asked again goes to imports, and to memory that is new to the process",
    "make compare, s": "two racks and two servers, three seeds each: some twenty full phases, sprints, and the report",
    "first compile, CPU s": "one loop of 2,500 lines, most of it inlined",
}
"""Why a goal is missed, where it is."""


def goals(figures: Figures) -> None:
    """What was asked beside what was measured; seconds also as on a machine on which the peer is as fast as it was beside the goals."""
    share = figures.get("peer's calls/s", STATED_CALLS_S) / STATED_CALLS_S
    rows = []
    for words, name, relation, goal, unit in GOALS:
        if name in figures:
            found = figures[name]
            judged = found * share if unit in ("s", "CPU s") else found
            met = judged >= goal if relation == ">=" else judged <= goal
            verdict = "met" if met else f"**missed**: {CAUSES.get(name, '')}".rstrip(": ")
            rows.append([words, f"{relation} {goal:,} {unit}", shown(found), shown(judged), verdict])
    print("## Goals\n")
    if share != 1:
        print(
            f"Machines differ: the peer replays 1,000 agents on one worker at {share * STATED_CALLS_S:,.0f} calls/s here, and at "
            f"{STATED_CALLS_S:,} on the machine that the goals were set beside. So seconds are judged times {share:.2f}.\n"
        )
    sheet(("what", "goal", "measured", "judged", "verdict"), rows)


def shown(figure: float) -> str:
    """Three digits, or whole thousands."""
    return f"{figure:,.0f}" if figure >= 1_000 else f"{figure:,.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="", help="interpreter of the environment in which the peer is installed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference-agents", type=int, default=1_000, help="minutes for 1,000")
    asked = parser.parse_args()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numba", "numpy", "simpy"))
    print("# How fast\n\n<!-- written by benchmarks/bench_all.py; do not edit -->\n")
    print(
        f"{os.cpu_count()} CPUs ({platform.machine()}), {platform.system()}, Python {platform.python_version()}, "
        f"{versions}. Medians of {asked.rounds}; one core.\n"
    )
    busy = os.getloadavg()[0]
    simulate_kernel(fleet_of(2, 2, 1, 1_000))
    figures = against_peer(asked.peer, asked.rounds) if asked.peer else {}
    figures |= against_reference(asked.reference_agents, asked.rounds)
    figures |= as_agents_grow(2 * asked.rounds + 1)
    as_worlds_grow(asked.rounds)
    figures |= what_questions_cost() | memory()
    goals(figures)
    print(f"Load average of the machine at start and end {busy:.1f} and {os.getloadavg()[0]:.1f}; this benchmark alone makes 1.\n")
    print(f"Peak memory of this whole benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB.")


if __name__ == "__main__":
    main()
