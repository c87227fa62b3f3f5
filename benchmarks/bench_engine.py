"""Speed of the engines on a fleet of coding agents: calls/s, steps/s, output tokens/s, peak memory, kernel against reference.

The load is 1,000 agents of 30 calls each: contexts grow from 12 K to 100 K tokens behind a shared system prompt of 8 K, answers are
lognormal around 400 tokens, tools around 3 s, agents start over 60 s; one worker with 262,144 blocks of 512 tokens, 1,024 seats and
16,384 tokens a step.
Kernel and reference run the same world in turns, in one process, so that noise of the machine hits both; the reference leaves its invariant
checks out here. Run it by ``make bench``; it prints one table on stdout.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from simulator.engine import Fleet, Output, Sched, Stop, World, simulate_kernel, simulate_reference
from simulator.engine.world import TOTAL_COLUMNS
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

BLOCK_TOKENS, SHARED_TOKENS, FIRST_TOKENS, LAST_TOKENS = 512, 8_192, 12_000, 100_000
US = 10**6


def coding_agent(agent: int, turns: int, rng: np.random.Generator) -> Trajectory:
    """One agent's run: every prompt keeps the one before and adds the answer and a tool's result."""
    growth = (LAST_TOKENS - FIRST_TOKENS) / max(1, turns - 1)
    calls, prompt, answer = [], 0, 0
    for turn in range(turns):
        new = FIRST_TOKENS if turn == 0 else max(answer + 32, int(growth + rng.normal(0, 0.3 * growth)))
        answer = max(16, int(rng.lognormal(np.log(400) - 0.32, 0.8)))
        calls.append(Call(prompt, new, answer, max(0.05, rng.lognormal(np.log(3.0) - 0.5, 1.0))))
        prompt += new
    return Trajectory(f"agent{agent}", tuple(calls), {})


def bench_world(agents: int, turns: int) -> World:
    """One play for each agent, on one worker."""
    rng = np.random.default_rng(1)
    load = TrajectorySet("bench", "recorded", SHARED_TOKENS, tuple(coding_agent(agent, turns, rng) for agent in range(agents)), {})
    compiled = compile_calls(load, block_tokens=BLOCK_TOKENS, marker="after_system", stops=False)
    sched = Sched(16_384, 1_024, 0, 1, 1, 0, 1, 1, 0, 1000, 0)
    starts = np.arange(agents, dtype=np.int64) * 60 * PS_PER_S // agents
    fleet = Fleet(1, 1, 262_144, BLOCK_TOKENS, 0, 0, starts, np.arange(agents, dtype=np.int64))
    weights = np.minimum(np.arange(20_000, dtype=np.int64) * 20 * US, 15_000 * US)
    law = StepLaw(5_000 * US, weights, 2 * US, 200, 10 * US, 20 * US, 50)
    power = PowerLaw(400_000, 280_000, 1_500_000, 1_400_000, 150_000, 8, weights, 2 * US, 200, US, 20)
    stop = Stop(0, 0, 10**9, 0, 10**6 * PS_PER_S, 1)
    return World(compiled.calls, compiled.tree, fleet, sched, law, power, stop)


def timed(engine: Callable[[World], Output], world: World) -> tuple[float, Output]:
    began = time.perf_counter()
    output = engine(world)
    return time.perf_counter() - began, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5, help="kernel runs; medians are printed")
    parser.add_argument("--reference-rounds", type=int, default=1, help="reference runs, each after a kernel run (minutes each)")
    args = parser.parse_args()
    world = bench_world(args.agents, args.turns)
    compile_s, _ = timed(simulate_kernel, bench_world(2, 2))
    kernel_s, reference_s = [], []
    for number in range(args.rounds):
        seconds, output = timed(simulate_kernel, world)
        kernel_s.append(seconds)
        if number < args.reference_rounds:
            seconds, slow = timed(lambda world: simulate_reference(world, events=False, verify=False), world)
            reference_s.append(seconds)
            assert np.array_equal(slow.calls, output.calls), "two engines, one meaning"
    seconds = statistics.median(kernel_s)
    totals = dict(zip(TOTAL_COLUMNS, output.totals.tolist(), strict=True))
    tokens = int(output.calls[:, 12].sum())
    reuse = output.calls[:, 11].sum() / output.calls[:, 10].sum()
    print(f"load            {args.agents} agents x {args.turns} calls, {output.calls[:, 10].sum():,} prompt and {tokens:,} output tokens")
    print(f"                {reuse:.1%} of the prompt from the cache, {totals['preemptions']} preemptions")
    print(f"                {output.end_ps / PS_PER_S:,.0f} s simulated")
    print(f"kernel          {seconds:.3f} s (median of {args.rounds}), first call with its compile or cache load {compile_s:.1f} s")
    print(f"calls/s         {len(output.calls) / seconds:,.0f}")
    print(f"steps/s         {totals['steps'] / seconds:,.0f}")
    print(f"output tokens/s {tokens / seconds:,.0f}")
    print(f"peak memory     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of the whole process")
    if reference_s:
        slow_s = statistics.median(reference_s)
        print(f"reference       {slow_s:.1f} s (median of {len(reference_s)}); the kernel is {slow_s / seconds:,.0f} times faster")


if __name__ == "__main__":
    main()
