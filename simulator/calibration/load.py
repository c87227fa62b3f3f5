"""The load of a row as the engine reads it: what the benchmark's client sends, as calls of a closed loop. Inputs are evidence rows.

The client has all its calls at once and keeps ``concurrency`` of them in flight, so the means hold a first burst and a last drain. No
prompt repeats another, beyond the leading tokens that the row says are reused.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.evidence import Row
from simulator.hardware.deployment import Deployment
from simulator.workload.compile import Compiled, compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

ROUNDS = 10
"""Calls per client where the run does not tell: the benchmark's client sends 10 times its concurrency."""


class LoadKey(NamedTuple):
    """What the load of a row depends on: rows that share it share the compiled calls."""

    isl: int
    osl: int
    reused: int
    length_ratio: float
    calls: int
    block_tokens: int
    drafts: int
    accept_pmf: tuple[float, ...]
    lengths_seed: int


def calls_of(row: Row) -> int:
    """Calls of the whole run, a whole number for each client."""
    rounds = row.requests / row.concurrency if row.requests else ROUNDS
    return row.concurrency * max(1, round(rounds))


def load_key(row: Row, deployment: Deployment) -> LoadKey:
    """The load of a row on a deployment."""
    pmf = deployment.accept_pmf if deployment.drafts else (1.0,)
    return LoadKey(
        row.isl, row.osl, row.reused, row.length_ratio, calls_of(row), deployment.block_tokens, deployment.drafts, pmf, row.lengths_seed
    )


def compiled_load(key: LoadKey, max_context_tokens: int, seed: int) -> Compiled:
    """Calls with lengths drawn as the client draws them, each a trajectory of its own.

    Raises
    ------
    UserError
        When no call fits the context limit.
    """
    isl, osl = _lengths(key, seed)
    calls = [Call(0, max(int(n), key.reused + 1), int(m), 0.0) for n, m in zip(isl, osl, strict=True)]
    runs = tuple(Trajectory(f"call{number}", (call,)) for number, call in enumerate(calls))
    return compile_calls(
        TrajectorySet("fixed_load", "recorded", key.reused, runs, {"origin": "a benchmark's client", "quality": "datasheet"}),
        block_tokens=key.block_tokens,
        marker="after_system" if key.reused else "front",
        accept_pmf=key.accept_pmf,
        drafts=key.drafts,
        seed=seed,
        stops=False,
        max_context_tokens=max_context_tokens,
    )


def _lengths(key: LoadKey, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prompt and answer lengths, shape (calls,) each: those of the client itself where its seed is told."""
    lows = [max(1, int(nominal * key.length_ratio)) for nominal in (key.isl, key.osl)]
    if key.lengths_seed:
        client = np.random.RandomState(key.lengths_seed)
        return client.randint(lows[0], key.isl + 1, key.calls), client.randint(lows[1], key.osl + 1, key.calls)
    random = np.random.default_rng([seed, key.isl, key.osl, key.calls])
    return random.integers(lows[0], key.isl + 1, key.calls), random.integers(lows[1], key.osl + 1, key.calls)
