"""Answers known without a simulator: zero load, M/D/1, machine repair, Little, an infinite cache, a full batch."""

import numpy as np
import pytest

from simulator.engine import simulate_kernel, simulate_reference
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call
from tests.theory.worlds import BLOCK, MS, SCHED, US, column, constant_law, load_of, pool_of, total, world_of


@pytest.mark.parametrize("engine", [simulate_kernel, simulate_reference], ids=["kernel", "reference"])
@pytest.mark.parametrize(("prompt", "output_tokens", "budget"), [(1000, 40, 4096), (10_000, 7, 4096), (300, 1, 128)])
def test_zero_load_ttft_and_tpot_are_the_law_s_own(engine, prompt: int, output_tokens: int, budget: int) -> None:  # type: ignore[no-untyped-def]
    """One call alone: TTFT is the sum of its prefill chunks' steps, TPOT the mean of its decode steps, to the picosecond."""
    law = StepLaw(11 * MS, np.arange(5000, dtype=np.int64) * 3 * US, 17 * US, 236 << 10, 80 * US, 62 * US, 170 << 10)
    sched = SCHED._replace(token_budget=budget)
    output = engine(world_of([[Call(0, prompt, output_tokens)]], np.array([5 * MS], np.int64), [pool_of(law, sched, 500)]))

    def chunk_ps(n: int, p: int) -> int:
        return 11 * MS + min(n, 4999) * 3 * US + 62 * US * n + 170 * n * (2 * p + n) // 2

    def decode_ps(context: int) -> int:
        return 11 * MS + 3 * US + 17 * US + 80 * US + 236 * context

    starts = range(0, prompt, budget)
    ttft_ps = sum(chunk_ps(min(budget, prompt - p), p) for p in starts)
    # the first decode step reads the prompt and the token just emitted
    decode_total_ps = sum(decode_ps(prompt + 1 + j) for j in range(output_tokens - 1))
    send, first, last = (int(column(output, name)[0]) for name in ("send_ps", "first_ps", "last_ps"))
    assert send == 5 * MS
    assert first - send == ttft_ps
    assert last - first == decode_total_ps


def test_md1_mean_wait() -> None:
    """Poisson arrivals at one server of constant service: W = rho D / (2 (1 - rho)) (Pollaczek-Khinchine)."""
    service_ps, load, calls = 20 * MS, 0.7, 60_000
    arrivals_s = np.random.default_rng(7).exponential(service_ps / load / PS_PER_S, calls).cumsum()
    starts_ps = np.rint(arrivals_s * PS_PER_S).astype(np.int64)
    output = simulate_kernel(world_of([[Call(0, 10, 1)]], starts_ps, [pool_of(constant_law(service_ps), blocks=4)]))
    waits = column(output, "first_ps") - column(output, "send_ps") - service_ps
    assert len(output.calls) == calls
    assert waits.mean() == pytest.approx(load * service_ps / (2 * (1 - load)), rel=0.04)  # about 3 standard errors of autocorrelated waits


@pytest.mark.parametrize("agents", [2, 5, 12])
def test_machine_repair_throughput(agents: int) -> None:
    """N agents that think and then need one server, both exponential: utilisation is 1 - p0 of the finite-source queue M/M/1//N."""
    mean_service_s, mean_think_s, calls = 0.02, 0.1, 40_000 // agents
    rng = np.random.default_rng(agents)
    token_ps = 10 * US  # a service of n tokens takes n times this
    runs = []
    for _ in range(agents):
        services = np.maximum(1, np.rint(rng.exponential(mean_service_s * PS_PER_S / token_ps, calls))).astype(int)
        thinks = rng.exponential(mean_think_s, calls)
        runs.append([Call(0, int(n), 1, float(think)) for n, think in zip(services, thinks, strict=True)])
    server = pool_of(constant_law(1, token_ps), blocks=3_000)
    output = simulate_kernel(world_of(runs, np.zeros(agents, np.int64), [server]))
    ratio, weight, weights = mean_service_s / mean_think_s, 1.0, [1.0]
    for k in range(agents):
        weight *= (agents - k) * ratio
        weights.append(weight)
    utilisation = 1 - 1 / sum(weights)
    assert total(output, "busy_ns") * 1000 / output.end_ps == pytest.approx(utilisation, rel=0.02)


def test_little_and_a_full_batch() -> None:
    """A closed batch of constant size: tokens/s is batch / step, and the summed decode time is the integral of the batch (Little)."""
    agents, osl, step_ps = 8, 200, 10 * MS
    pool = pool_of(constant_law(step_ps), SCHED._replace(max_seqs=agents), blocks=200)
    output = simulate_kernel(world_of([[Call(0, 64, osl)]], np.zeros(agents, np.int64), [pool], plays=10))
    assert output.end_ps == 10 * osl * step_ps, "a play is one prefill step and osl - 1 decode steps"
    residence_ns = int((column(output, "last_ps") - column(output, "first_ps")).sum()) // 1000
    assert total(output, "decode_seq_ns") == residence_ns
    assert column(output, "output_tokens").sum() * PS_PER_S / output.end_ps == agents * PS_PER_S / step_ps


def test_infinite_cache_hits_what_the_trajectories_share() -> None:
    """With memory for everything the engine's hits are the reuse that compiling the trajectories counted, token for token."""
    rng = np.random.default_rng(3)
    runs = []
    for _ in range(6):
        prompt, calls = 0, []
        for _ in range(15):
            kept = prompt if rng.random() < 0.8 else int(rng.integers(0, prompt + 1))
            new = int(rng.integers(1, 700))
            calls.append(Call(kept, new, int(rng.integers(1, 90)), float(rng.random() / 10)))
            prompt = kept + new
        runs.append(calls)
    pool = pool_of(constant_law(5 * MS, 20 * US), SCHED._replace(max_seqs=6, prefix_cache=1), blocks=10**6)
    compiled = compile_calls(load_of(runs), block_tokens=BLOCK, stops=False)
    output = simulate_kernel(world_of(runs, np.arange(6, dtype=np.int64) * MS, [pool]))
    assert column(output, "cached_tokens").sum() == compiled.reusable_block_tokens
    assert total(output, "evicted_blocks") == 0
