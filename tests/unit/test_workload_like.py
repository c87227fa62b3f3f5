"""Runs drawn like those of a set: alike by two-sample tests, made of stretches, seeded; and the test itself tells sets apart."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings

from simulator.errors import UserError
from simulator.workload import Call, Trajectory, TrajectorySet, load_trajectories
from simulator.workload.generate import FITTED, generate
from simulator.workload.like import generate_like
from simulator.workload.native import native_text
from simulator.workload.operations import scale
from simulator.workload.two_sample import QUANTITIES, compare_sets
from tests.unit.drawn_trajectories import trajectory_sets


@pytest.fixture(scope="module")
def real() -> TrajectorySet:
    return load_trajectories("agentperf_like_subagents")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_drawn_set_is_alike_in_every_quantity(real: TrajectorySet, seed: int) -> None:
    found = compare_sets(real, generate_like(real, seed=seed))
    assert [row.name for row in found] == [name for name, _ in QUANTITIES]
    assert [row for row in found if row.p_value < 0.05 or row.distance > row.usual] == []


def test_the_two_sample_test_finds_what_differs(real: TrajectorySet) -> None:
    different = {row.name for row in compare_sets(real, scale(real, tool_time=1.2)) if row.p_value < 0.05}
    assert different == {"tool time"}
    different = {row.name for row in compare_sets(real, scale(real, output=1.3)) if row.p_value < 0.05}
    assert different == {"OSL"}
    shorter = generate(100, 3, replace(FITTED, calls_median=12.0))
    assert "turns" in {row.name for row in compare_sets(real, shorter) if row.p_value < 0.05}


def test_halves_of_one_set_are_told_apart_as_seldom_as_promised() -> None:
    """Of 20 pairs of sets of the same generator at most 4 differ at 5 % (more has a chance of 1 in 390)."""
    found = [compare_sets(generate(20, 2 * n), generate(20, 2 * n + 1), deals=60)[0].p_value for n in range(20)]
    assert sum(value < 0.05 for value in found) <= 4


def test_distance_by_hand() -> None:
    def runs(*outputs: int) -> TrajectorySet:
        return TrajectorySet("s", "recorded", 0, tuple(Trajectory(str(n), (Call(0, 9, each),)) for n, each in enumerate(outputs)))

    by_name = {row.name: row for row in compare_sets(runs(1, 2, 3, 4), runs(3, 4, 5, 6))}
    assert by_name["OSL"].distance == 0.5
    assert (by_name["ISL"].distance, by_name["ISL"].p_value) == (0.0, 1.0)
    assert by_name["tool time"].p_value == 1.0, "no call is followed by one"


def test_runs_are_new_but_made_of_recorded_steps(real: TrajectorySet) -> None:
    drawn = generate_like(real, 60, seed=1)
    recorded = {trajectory.calls for trajectory in real.trajectories}
    long = [trajectory for trajectory in drawn.trajectories if len(trajectory.threads[0]) > 40]
    assert len(long) > 10
    assert all(trajectory.calls not in recorded for trajectory in long)
    steps = {(call.new_tokens, call.output_tokens, call.tool_s) for trajectory in real.trajectories for call in trajectory.calls}
    assert {(call.new_tokens, call.output_tokens, call.tool_s) for trajectory in drawn.trajectories for call in trajectory.calls} <= steps
    assert max(call.prompt_tokens for t in drawn.trajectories for call in t.calls) <= max(
        call.prompt_tokens for t in real.trajectories for call in t.calls
    )


def test_with_endless_blocks_the_runs_are_the_recorded_ones(real: TrajectorySet) -> None:
    drawn = generate_like(real, block_calls=1e9)
    assert {(t.calls, t.sub_agents) for t in drawn.trajectories} == {(t.calls, t.sub_agents) for t in real.trajectories}


def test_same_seed_same_bytes_and_a_shorter_set_begins_a_longer_one(real: TrajectorySet) -> None:
    assert native_text(generate_like(real, 9, 5)) == native_text(generate_like(real, 9, 5))
    assert generate_like(real, 5, 5).trajectories == generate_like(real, 9, 5).trajectories[:5]
    assert generate_like(real, 5, 5).trajectories != generate_like(real, 5, 6).trajectories
    assert len(generate_like(real, 250).trajectories) == 250
    said = generate_like(real, 5, 5).provenance
    assert said["quality"] == "assumed", "no better than the set it imitates"
    assert "seed=5" in said["method"]


@settings(max_examples=60, deadline=None)
@given(found=trajectory_sets())
def test_whatever_the_set_the_drawn_one_is_good(found: TrajectorySet) -> None:
    drawn = generate_like(found, 4, 1, block_calls=1.5, neighbours=2)  # a bad one would raise
    assert len(drawn.trajectories) == 4


def test_arrivals_are_drawn_gap_by_gap() -> None:
    runs = tuple(Trajectory(str(n), (Call(0, 9, 1),), arrival_s=2.0 * n) for n in range(50))
    drawn = generate_like(TrajectorySet("s", "recorded", 0, runs), 20)
    arrivals = [trajectory.arrival_s or 0.0 for trajectory in drawn.trajectories]
    assert {later - earlier for earlier, later in pairwise(arrivals)} <= {0.0, 2.0}
    assert drawn.has_arrivals


def test_arguments_out_of_range_are_refused(real: TrajectorySet) -> None:
    for bad in ({"trajectories": 0}, {"seed": -1}, {"block_calls": 0.5}, {"block_calls": float("nan")}, {"neighbours": 0}):
        with pytest.raises(UserError, match=next(iter(bad))):
            generate_like(real, **bad)  # type: ignore[arg-type]
