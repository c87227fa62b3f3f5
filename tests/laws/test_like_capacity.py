"""A drawn set loads a system like the set it imitates: the agents held differ by less than a tenth."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulator import find_capacity, load_scenario
from simulator.capacity.scenario import Phase, Scenario, TrajectoryLoad
from simulator.workload import load_trajectories
from simulator.workload.like import generate_like
from simulator.workload.native import write_native

PHASE = Phase(ramp_s=60, warmup_s=60, min_window_s=600, min_trajectories=200, min_agent_trajectories=0, max_s=4_000)


def held(scenario: Scenario, source: str) -> int:
    assert isinstance(scenario.workload, TrajectoryLoad)
    return find_capacity(replace(scenario, workload=replace(scenario.workload, source=source))).agents_held


def test_a_drawn_set_is_held_like_the_set_it_imitates(tmp_path: Path) -> None:
    """Of 400 runs each. A set whose prompts are a fifth longer differs by more, so this would notice."""
    scenario = replace(load_scenario("capacity_h200"), deployment="hgx_b200_v4pro_20tps", seeds=(1,), phase=PHASE)
    real = load_trajectories("agentperf_like")
    drawn = tmp_path / "drawn.jsonl"
    write_native(generate_like(real, seed=1), drawn)
    count = held(scenario, "agentperf_like")
    assert count > 100
    assert held(scenario, str(drawn)) == pytest.approx(count, rel=0.1)
