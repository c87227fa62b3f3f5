"""Worlds small enough to be solved by hand: pools with a plain schedule, and a load in which agent ``a`` plays run ``a``."""

from collections.abc import Sequence

import numpy as np

from simulator.engine import Fleet, Output, Sched, Stop, World
from simulator.engine.world import CALL_COLUMNS, ROLE_MIXED, ROUTER_LEAST_LOADED, TOTAL_COLUMNS, Pool
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, SubAgent, Trajectory, TrajectorySet

MS, US = 10**9, 10**6
FAR = 10**17
BLOCK = 64
SCHED = Sched(
    token_budget=1 << 20,
    max_seqs=1,
    long_prefill_cap=0,
    prefill_interval=1,
    admit_reserve=1,
    watermark_blocks=0,
    pipeline_depth=1,
    prefix_cache=0,
    drafts=0,
    accept_milli=1000,
    lookahead=0,
)
POWER = PowerLaw(400_000, 0, 0, 700_000, 75_000, 1, np.zeros(2, np.int64), 0, 0, 0, 0)
Run = Sequence[Call] | tuple[Sequence[Call], Sequence[SubAgent]]
"""The calls of a trajectory, or these and its sub-agents."""


def column(output: Output, name: str) -> np.ndarray:
    return output.calls[:, CALL_COLUMNS.index(name)]


def total(output: Output, name: str, pool: int = 0) -> int:
    return int(output.totals[pool, TOTAL_COLUMNS.index(name)])


def constant_law(step_ps: int, prefill_token_ps: int = 0) -> StepLaw:
    """A step takes ``step_ps``, and ``prefill_token_ps`` more for each prompt token."""
    return StepLaw(step_ps, np.zeros(2, np.int64), 0, 0, 0, prefill_token_ps, 0)


def pool_of(law: StepLaw, sched: Sched = SCHED, blocks: int = 1000, role: int = ROLE_MIXED, workers: int = 1, ranks: int = 1) -> Pool:
    return Pool(role, workers, ranks, blocks, 0, sched, law, POWER)


def load_of(runs: Sequence[Run]) -> TrajectorySet:
    whole = [run if isinstance(run, tuple) else (run, ()) for run in runs]
    named = (Trajectory(f"t{i}", tuple(calls), {}, tuple(agents)) for i, (calls, agents) in enumerate(whole))
    return TrajectorySet("theory", "recorded", 0, tuple(named), {})


def world_of(runs: Sequence[Run], starts_ps: np.ndarray, pools: Sequence[Pool], plays: int = 1, **fleet: int) -> World:
    """Agent ``a`` plays run ``a`` (modulo the number of runs) and retires after ``plays`` plays."""
    compiled = compile_calls(load_of(runs), block_tokens=BLOCK, stops=False)
    order = np.arange(len(runs), dtype=np.int64)
    whole = Fleet(tuple(pools), BLOCK, ROUTER_LEAST_LOADED, starts_ps, order)._replace(**fleet)
    return World(compiled.calls, compiled.threads, compiled.tree, whole, Stop(0, 0, 10**9, 0, FAR, plays))


def at(*times_ps: int) -> np.ndarray:
    """Start times of agents."""
    return np.array(times_ps, np.int64)
