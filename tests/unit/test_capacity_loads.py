"""A load kept warm is the load compiled anew, for every seed."""

import numpy as np
import pytest

from simulator.capacity.loads import compiled_load, trajectories_of
from simulator.capacity.scenario import TrajectoryLoad
from simulator.hardware.load import load_deployment
from simulator.workload.compile import compile_calls


@pytest.mark.parametrize("seed", [1, 2])
def test_a_warm_load_is_the_load_compiled_for_its_seed(seed: int) -> None:
    deployment, load = load_deployment("hgx_h200_v4pro_20tps"), TrajectoryLoad("agentperf_like", None, "front", 1.0, True)
    warm = compiled_load(load, deployment, seed, 86_000)
    anew = compile_calls(
        trajectories_of(load),
        block_tokens=deployment.block_tokens,
        accept_pmf=deployment.accept_pmf,
        drafts=deployment.drafts,
        seed=seed,
        max_context_tokens=86_000,
    )
    assert deployment.drafts > 0
    assert all(np.array_equal(one, other) for one, other in zip(warm.calls, anew.calls, strict=True))
    assert compiled_load(load, deployment, 3 - seed, 86_000).calls.leaf is warm.calls.leaf, "compiled once"
    assert not np.array_equal(compiled_load(load, deployment, 3 - seed, 86_000).calls.decode_steps, warm.calls.decode_steps)
