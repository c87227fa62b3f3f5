"""Speed of the engines on fleets of coding agents: calls/s, steps/s, output tokens/s, peak memory; kernel against reference, and prefill
and decode pools against mixed workers.

The load is 30 calls for each agent: contexts grow from 12 K to 100 K tokens behind a shared system prompt of 8 K, answers are lognormal
around 400 tokens, tools around 3 s, agents start over 60 s.

1. 1,000 agents on one worker with 262,144 blocks of 512 tokens, 1,024 seats and 16,384 tokens a step.
2. 2,000 agents on 32 ranks of 32,768 such blocks: 4 mixed workers of 8 ranks; and 3 prefill workers and 1 decode worker of 8 ranks each, KV
   moving after the prefill.

What is compared runs in turns, in one process, so that noise of the machine hits both; the reference leaves its invariant checks out here.
Run it by ``make bench``; it prints one table on stdout.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from simulator.engine import Fleet, Output, Sched, Stop, World, simulate_kernel, simulate_reference
from simulator.engine.world import CALL_COLUMNS, ROLE_DECODE, ROLE_MIXED, ROLE_PREFILL, ROUTER_AFFINITY, TOTAL_COLUMNS, Pool
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.compile import Compiled, compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

BLOCK_TOKENS, SHARED_TOKENS, FIRST_TOKENS, LAST_TOKENS = 512, 8_192, 12_000, 100_000
US = 10**6


def coding_agent(agent: int, turns: int, first: int, last: int, rng: np.random.Generator) -> Trajectory:
    """One agent's run: every prompt keeps the one before and adds the answer and a tool's result."""
    growth = (last - first) / max(1, turns - 1)
    calls, prompt, answer = [], 0, 0
    for turn in range(turns):
        new = first if turn == 0 else max(answer + 32, int(growth + rng.normal(0, 0.3 * growth)))
        answer = max(16, int(rng.lognormal(np.log(400) - 0.32, 0.8)))
        calls.append(Call(prompt, new, answer, max(0.05, rng.lognormal(np.log(3.0) - 0.5, 1.0))))
        prompt += new
    return Trajectory(f"agent{agent}", tuple(calls), {})


def set_of(agents: int, turns: int, shared: int = SHARED_TOKENS, first: int = FIRST_TOKENS, last: int = LAST_TOKENS) -> TrajectorySet:
    """One run for each agent."""
    rng = np.random.default_rng(1)
    runs = tuple(coding_agent(agent, turns, first, last, rng) for agent in range(agents))
    return TrajectorySet("bench", "recorded", shared, runs, {})


def load_of(agents: int, turns: int) -> Compiled:
    """The same, compiled."""
    return compile_calls(set_of(agents, turns), block_tokens=BLOCK_TOKENS, marker="after_system", stops=False)


def pool_of(role: int, workers: int, ranks: int, blocks: int) -> Pool:
    """Equal workers; a port moves 20 tokens in a microsecond (150 GB/s for 7.5 kB a token)."""
    sched = Sched(16_384, 1_024, 0, 1, 1, 0, 1, 1, 0, 1000, 0)
    weights = np.minimum(np.arange(20_000, dtype=np.int64) * 20 * US, 15_000 * US)
    law = StepLaw(5_000 * US, weights, 2 * US, 200, 10 * US, 20 * US, 50)
    power = PowerLaw(400_000, 280_000, 1_500_000, 1_400_000, 150_000, 8, weights, 2 * US, 200, US, 20)
    return Pool(role, workers, ranks, blocks, 0, sched, law, power, port_fixed_ps=50 * US, port_token_fp=US // 20 << 10)


def world_of(load: Compiled, *pools: Pool, agents: int = 0, plays: int = 1) -> World:
    """Agents, as many as runs unless it is said, and how many runs each of them plays."""
    agents = agents or len(load.ids)
    starts = np.arange(agents, dtype=np.int64) * 60 * PS_PER_S // agents
    order = np.arange(len(load.ids), dtype=np.int64)
    fleet = Fleet(pools, BLOCK_TOKENS, ROUTER_AFFINITY, starts, order, link_latency_ps=2_000 * US)
    return World(load.calls, load.threads, load.tree, fleet, Stop(0, 0, 10**9, 0, 3 * 10**5 * PS_PER_S, plays))


def column(output: Output, name: str) -> np.ndarray:
    return output.calls[:, CALL_COLUMNS.index(name)]


def timed(engine: Callable[[World], Output], world: World) -> tuple[float, Output]:
    began = time.perf_counter()
    output = engine(world)
    return time.perf_counter() - began, output


def engines_table(agents: int, turns: int, rounds: int, reference_rounds: int) -> None:
    """Kernel and reference on one worker."""
    compile_s, _ = timed(simulate_kernel, world_of(load_of(2, 2), pool_of(ROLE_MIXED, 1, 1, 262_144)))
    world = world_of(load_of(agents, turns), pool_of(ROLE_MIXED, 1, 1, 262_144))
    kernel_s, reference_s = [], []
    for number in range(rounds):
        seconds, output = timed(simulate_kernel, world)
        kernel_s.append(seconds)
        if number < reference_rounds:
            seconds, slow = timed(lambda world: simulate_reference(world, events=False, verify=False), world)
            reference_s.append(seconds)
            assert np.array_equal(slow.calls, output.calls), "two engines, one meaning"
    seconds = statistics.median(kernel_s)
    totals = dict(zip(TOTAL_COLUMNS, output.totals[0].tolist(), strict=True))
    prompt, cached, tokens = (column(output, f"{name}_tokens").sum() for name in ("prompt", "cached", "output"))
    print(f"load            {agents} agents x {turns} calls, {prompt:,} prompt and {tokens:,} output tokens")
    print(f"                {cached / prompt:.1%} of the prompt from the cache, {totals['preemptions']} preemptions")
    print(f"                {output.end_ps / PS_PER_S:,.0f} s simulated")
    print(f"kernel          {seconds:.3f} s (median of {rounds}), first call with its compile or cache load {compile_s:.1f} s")
    print(f"calls/s         {len(output.calls) / seconds:,.0f}")
    print(f"steps/s         {totals['steps'] / seconds:,.0f}")
    print(f"output tokens/s {tokens / seconds:,.0f}")
    if reference_s:
        slow_s = statistics.median(reference_s)
        print(f"reference       {slow_s:.1f} s (median of {len(reference_s)}); the kernel is {slow_s / seconds:,.0f} times faster")


def fleets_table(agents: int, turns: int, rounds: int) -> None:
    """The same agents on 32 mixed ranks, and on 24 prefill and 8 decode ranks."""
    load = load_of(agents, turns)
    worlds = {
        "4 mixed": world_of(load, pool_of(ROLE_MIXED, 4, 8, 32_768)),
        "3 + 1": world_of(load, pool_of(ROLE_PREFILL, 3, 8, 32_768), pool_of(ROLE_DECODE, 1, 8, 32_768)),
    }
    rates: dict[str, list[float]] = {name: [] for name in worlds}
    steps = TOTAL_COLUMNS.index("steps")
    for number in range(rounds):
        for name, world in worlds.items():
            seconds, output = timed(simulate_kernel, world)
            rates[name].append(len(output.calls) / seconds)
            if number == 0:
                cached = column(output, "cached_tokens").sum() / column(output, "prompt_tokens").sum()
                done = f"{len(output.calls):,} calls, {output.totals[:, steps].sum():,} steps, {output.end_ps / PS_PER_S:,.0f} s simulated"
                print(f"{name:15} {done}, {cached:.1%} cached, {column(output, 'moved_tokens').sum():,} tokens moved")
    mixed, split = (statistics.median(rates[name]) for name in worlds)
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"calls/s         {mixed:,.0f} on 4 mixed workers, {split:,.0f} on 3 prefill and 1 decode workers (medians of {rounds})")
    print(f"ratio           {statistics.median(ratios):.2f} (median of {rounds}; {min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000, help="on one worker; twice as many on 32 ranks")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=9, help="kernel runs; medians are printed")
    parser.add_argument("--reference-rounds", type=int, default=1, help="reference runs, each after a kernel run (minutes each)")
    args = parser.parse_args()
    engines_table(args.agents, args.turns, args.rounds, args.reference_rounds)
    fleets_table(2 * args.agents, args.turns, args.rounds)
    print(f"peak memory     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of the whole process")


if __name__ == "__main__":
    main()
