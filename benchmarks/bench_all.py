"""Speed of the engines, measured on this machine and written as docs/benchmarks.md: `make bench` prints it.

usage: bench_all.py [--peer PYTHON] [--rounds N] [--reference-agents N] > docs/benchmarks.md

Every figure is a median of its rounds; what is compared runs in turns (A B A B). The load is that of `bench_engine`: runs of 30 calls whose
context grows from 12,000 to 100,000 tokens over a shared 8,192. The peer is left out where its interpreter is not given. Sections print
when they are done; progress goes to stderr.
"""

import argparse
import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_engine import BLOCK_TOKENS, column, load_of, pool_of, set_of, timed, world_of
from peer import peak_of, replay, write_trace

from simulator.engine import World, simulate_kernel, simulate_reference
from simulator.engine.kernel import new_state
from simulator.engine.world import ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, ROUTER_PREFIX
from simulator.workload.compile import compile_calls

ROOT = Path(__file__).resolve().parent.parent
PER_CALL = ("", "calls", "seconds", "µs per call", "steps", "steps/s")


def sheet(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a Markdown table."""
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def steps_of(world: World, rounds: int) -> tuple[float, int, int]:
    """Median seconds of a world on the kernel, its calls and its steps."""
    runs = [timed(simulate_kernel, world) for _ in range(rounds)]
    output = runs[0][1]
    return statistics.median(seconds for seconds, _ in runs), len(output.calls), int(output.series[:, :, 0].sum())


def row(name: str, world: World, rounds: int) -> list[str]:
    """One line of a table by call and by step."""
    print(name, file=sys.stderr)
    seconds, calls, steps = steps_of(world, rounds)
    return [name, f"{calls:,}", f"{seconds:.3f}", f"{seconds / calls * 1e6:.2f}", f"{steps:,}", f"{steps / seconds / 1e6:.2f} M"]


def our_peak_mib(agents: int, turns: int, workers: int, blocks: int) -> float:
    """Peak memory of a process that makes the same load and plays it."""
    code = f"import bench_all; bench_all.simulate_kernel(bench_all.fleet_of({agents}, {turns}, {workers}, {blocks}))"
    where = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"}
    return peak_of([sys.executable, "-c", code], where)


def fleet_of(agents: int, turns: int, workers: int, blocks: int) -> World:
    """Mixed workers of one rank; several are chosen by prefix, as the peer's router does."""
    world = world_of(load_of(agents, turns), pool_of(ROLE_MIXED, workers, 1, blocks))
    return world if workers == 1 else world._replace(fleet=world.fleet._replace(router=ROUTER_PREFIX))


def against_peer(python: str, rounds: int) -> None:
    """Kernel and peer in turns on the same calls."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for agents, workers in ((100, 1), (100, 8), (1_000, 1), (1_000, 8)):
            blocks = 262_144 // workers
            trace = Path(folder) / "trace.jsonl"
            write_trace(set_of(agents, 30), 60.0, trace)
            world = fleet_of(agents, 30, workers, blocks)
            ours, theirs = [], []
            for _ in range(rounds):
                print(f"peer: {agents} agents, {workers} workers", file=sys.stderr)
                ours.append(timed(simulate_kernel, world))
                theirs.append(replay(python, trace, workers, blocks, Path(folder) / "report.json"))
            seconds, peer_s = statistics.median(s for s, _ in ours), statistics.median(run.seconds for run in theirs)
            output, report = ours[0][1], theirs[0]
            cached, tokens = int(column(output, "cached_tokens").sum()), int(column(output, "output_tokens").sum())
            equal = (len(output.calls) / report.calls, tokens / report.output_tokens, cached / report.reused_tokens)
            rows.append(
                [
                    f"{agents:,} agents, {workers} worker{'s' * (workers > 1)}",
                    f"{len(output.calls) / seconds:,.0f}",
                    f"{report.calls / peer_s:,.0f}",
                    f"**{peer_s / seconds:,.0f}**",
                    " / ".join(f"{x:.4f}" for x in equal),
                    f"{our_peak_mib(agents, 30, workers, blocks):,.0f} / {max(run.peak_mib for run in theirs):,.0f}",
                ]
            )
    print(
        "## Beside the peer\n\nDynamo 1.4.2's offline replay (Rust) of the same calls, blocks of 512 tokens, "
        "262,144 blocks in all; its own time of replaying. "
        "Where reused tokens differ its router spread the agents otherwise, and the work is not equal.\n"
    )
    sheet(
        ("load", "calls/s, ours", "calls/s, peer", "ratio", "ours/peer: calls, output tokens, reused tokens", "peak MiB, ours / peer"), rows
    )


def against_reference(agents: int, rounds: int) -> None:
    """Kernel and reference on one worker: equal calls, or this fails."""
    world = fleet_of(agents, 30, 1, 262_144)
    slow_s, slow = timed(lambda world: simulate_reference(world, events=False, verify=False), world)
    runs = [timed(simulate_kernel, world) for _ in range(rounds)]
    assert np.array_equal(slow.calls, runs[0][1].calls), "two engines, one meaning"
    seconds = statistics.median(s for s, _ in runs)
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


def scaling(rounds: int) -> None:
    """Cost per call and step as one thing grows."""
    print("## As agents grow\n\nOne worker, tool delays as long as it takes for the same calls/s, a KV pool that holds every context.\n")
    rows = []
    for agents, turns in ((10, 30), (100, 30), (1_000, 30), (10_000, 30), (100_000, 3)):
        load = load_of(agents, turns)
        slower = load.calls._replace(tool_ps=load.calls.tool_ps * max(1, agents // 1_000))
        world = world_of(load, pool_of(ROLE_MIXED, 1, 1, 210 * max(1_000, agents)))
        rows.append(row(f"{agents:,} agents x {turns}", world._replace(calls=slower), rounds if agents < 10_000 else 1))
    sheet(PER_CALL, rows)
    print("## As contexts grow\n\n100 agents of 30 calls; the context grows to what is said.\n")
    longest = ((1_000, 200), (10_000, 1_200), (100_000, 12_000), (1_000_000, 120_000))
    loads = [
        (last, compile_calls(set_of(100, 30, min(200, first), first, last), block_tokens=BLOCK_TOKENS, marker="after_system", stops=False))
        for last, first in longest
    ]
    sheet(PER_CALL, [row(f"{last:,} tokens", world_of(load, pool_of(ROLE_MIXED, 1, 1, 262_144)), rounds) for last, load in loads])
    print("## As ranks grow\n\n30 agents of 30 calls a rank, one worker in lockstep.\n")
    ranks = [row(f"{n} ranks", world_of(load_of(30 * n, 30), pool_of(ROLE_MIXED, 1, n, 16_384)), rounds) for n in (1, 8, 32, 72)]
    load = load_of(2_000, 30)
    ranks.append(
        row("24 + 8 ranks, moving KV", world_of(load, pool_of(ROLE_PREFILL, 3, 8, 32_768), pool_of(ROLE_DECODE, 1, 8, 32_768)), rounds)
    )
    sheet(PER_CALL, ranks)


def start_times() -> None:
    """A fresh process: compiling, from the cache, and help."""
    run = [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "run",
        "run_h200",
        "--agents",
        "1",
        "--set",
        "phase.min_window_s=60",
        "--set",
        "seeds=[1]",
    ]
    run += ["--set", "phase.min_trajectories=0", "--set", "phase.min_agent_trajectories=0"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, words in (("first run, compiling", run), ("the same, compiled before", run), ("--help", [*run[:3], "--help"])):
            print(name, file=sys.stderr)
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            where = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": folder}
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=where)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            rows.append(
                [name, f"{time.perf_counter() - began:.2f}", f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.2f}"]
            )
    print("## Starts\n")
    sheet(("process", "seconds", "CPU seconds"), rows)


def memory() -> None:
    """Bytes that one more idle agent takes in the engine."""
    few, many = (new_state(fleet_of(agents, 2, 1, 1_000), False) for agents in (1_000, 11_000))
    taken = sum(b.nbytes - a.nbytes for name, a, b in zip(few._fields, few, many, strict=True) if name != "calls") / 10_000
    print(
        f"## Memory\n\nAn idle agent takes {taken:,.0f} bytes of the engine's tables; "
        f"a cached segment {few.slots.itemsize * few.slots.shape[1]} bytes.\n"
    )


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
    simulate_kernel(fleet_of(2, 2, 1, 1_000))
    if asked.peer:
        against_peer(asked.peer, asked.rounds)
    against_reference(asked.reference_agents, asked.rounds)
    scaling(asked.rounds)
    start_times()
    memory()
    print(f"Peak memory of this whole benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB.")


if __name__ == "__main__":
    main()
