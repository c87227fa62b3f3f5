"""The AgentPerf-like generator: its figures meet the published ones together, and the shipped file is what it draws."""

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from simulator.errors import UserError
from simulator.workload import Call, SubAgent, Trajectory, TrajectorySet, load_trajectories
from simulator.workload.generate import FITTED, FanOut, fit, generate
from simulator.workload.native import native_text
from simulator.workload.statistics import AGENTPERF_TARGETS, Target, readme_tables, statistics, statistics_table


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_sample_of_400_meets_every_published_figure(seed: int) -> None:
    figures = [figure for figure in statistics(generate(400, seed), AGENTPERF_TARGETS) if figure.target is not None]
    assert len(figures) == len(AGENTPERF_TARGETS)
    assert [figure for figure in figures if not figure.met] == []


def test_targets_are_those_of_the_issue() -> None:
    assert AGENTPERF_TARGETS["ISL mean"] == Target(27_000, 0.05)
    assert AGENTPERF_TARGETS["OSL p50"] == Target(150, 0.10)
    assert AGENTPERF_TARGETS["OSL p95"] == Target(2_000, 0.10)


def test_the_shipped_parameters_are_a_fixed_point_of_the_fit() -> None:
    """One more round from them moves no parameter by more than a sample of 1,500 trajectories leaves open."""
    again = fit(FITTED, trajectories=1_500, seed=7, rounds=1)
    for field in fields(FITTED):
        if field.name in ("calls_median", "result_scale", "output_median", "output_sigma", "delay_scale"):
            assert getattr(again, field.name) == pytest.approx(getattr(FITTED, field.name), rel=0.04), field.name
        else:
            assert getattr(again, field.name) == getattr(FITTED, field.name)


def test_the_shipped_file_is_what_the_generator_draws() -> None:
    shipped, drawn = load_trajectories("agentperf_like"), generate()
    assert native_text(shipped) == native_text(drawn)


def test_the_context_only_grows_and_stays_in_bounds() -> None:
    for trajectory in generate(60, 5).trajectories:
        assert 1 <= len(trajectory.calls) <= 200
        before = 0
        for call in trajectory.calls:
            assert call.kept_tokens == before
            assert call.new_tokens >= 1
            before = call.prompt_tokens
            assert 0.1 <= call.tool_s <= 5.0
            assert 1 <= call.output_tokens <= 16_384
        assert 5_000 < trajectory.calls[0].prompt_tokens <= before <= 131_072


def test_new_tokens_are_heavy_tailed() -> None:
    by_name = {figure.name: figure.value for figure in statistics(generate(100, 5))}
    assert by_name["new tokens mean"] > 2 * by_name["new tokens p50"]
    assert by_name["new tokens max"] > 20 * by_name["new tokens mean"]


def test_a_shorter_set_is_the_beginning_of_a_longer_one_and_the_seed_matters() -> None:
    assert generate(5, 1).trajectories == generate(9, 1).trajectories[:5]
    assert generate(5, 1).trajectories != generate(5, 2).trajectories
    with pytest.raises(UserError):
        generate(0)


def test_fanning_out_leaves_the_main_threads_as_they_are_and_marks_the_set_as_assumed() -> None:
    plain, fanned = generate(60, 5), generate(60, 5, fan_out=FanOut())
    assert (fanned.name, fanned.provenance["quality"]) == ("agentperf_like_subagents", "assumed")
    assert "is an assumption" in fanned.provenance["sub_agents"]
    for one, other in zip(plain.trajectories, fanned.trajectories, strict=True):
        assert other.calls[: len(one.calls)] == one.calls
        assert bool(other.sub_agents) == (len(other.calls) > len(one.calls))
    assert generate(9, 5, fan_out=FanOut()).trajectories == fanned.trajectories[:9]
    assert generate(9, 5, fan_out=FanOut(share=0.0)).trajectories == plain.trajectories[:9]
    assert all(trajectory.sub_agents for trajectory in generate(9, 5, fan_out=FanOut(share=1.0)).trajectories)


def test_sub_agents_stay_within_what_is_assumed_of_them() -> None:
    assumed = FanOut()
    spawning = [trajectory for trajectory in generate(200, 5, fan_out=assumed).trajectories if trajectory.sub_agents]
    # 200 draws at 0.4: a standard error of 0.035
    assert 0.28 < len(spawning) / 200 < 0.52
    for trajectory in spawning:
        fans = Counter(agent.spawned_by for agent in trajectory.sub_agents)
        assert len(fans) <= assumed.times[1]
        assert set(fans.values()) <= set(range(assumed.width[0], assumed.width[1] + 1))
        assert max(fans) < len(trajectory.threads[0]) - 1, "the last call has nobody to report to"
        for agent, thread in zip(trajectory.sub_agents, trajectory.threads[1:], strict=True):
            assert assumed.delay_s[0] <= agent.delay_s <= assumed.delay_s[1]
            assert 1 <= len(thread) <= assumed.calls_range[1]
            first, last = trajectory.calls[thread[0]], trajectory.calls[thread[-1]]
            assert (first.kept_tokens, first.extends) == (0, None)
            assert FITTED.shared_prefix_tokens < first.prompt_tokens <= last.prompt_tokens <= assumed.max_prompt_tokens


def test_the_shipped_file_with_sub_agents_is_what_the_generator_draws() -> None:
    shipped = load_trajectories("agentperf_like_subagents")
    assert native_text(shipped) == native_text(generate(100, fan_out=FanOut()))


def test_figures_of_sub_agents_by_hand() -> None:
    """Call 0 spawns two sub-agents, one of which spawns three; call 1 spawns one: at most four run at once. Waits end with a thread."""
    agents = (SubAgent(0, 3), SubAgent(0, 4), SubAgent(1, 6), SubAgent(4, 7), SubAgent(4, 8), SubAgent(4, 9))
    tree = Trajectory("a", tuple(Call(0, 9, 1, float(index)) for index in range(10)), {}, agents)
    found = TrajectorySet("s", "recorded", 0, (tree, Trajectory("b", (Call(0, 9, 1),))))
    figures = {figure.name: figure.value for figure in statistics(found)}
    assert figures["trajectories with sub-agents"] == 0.5
    assert (figures["threads per trajectory max"], figures["threads per trajectory mean"]) == (7, 4)
    assert (figures["sub-agents per call that spawns mean"], figures["sub-agents per call that spawns max"]) == (2, 3)
    assert (figures["calls per sub-agent max"], figures["calls in flight max"]) == (2, 4)
    assert figures["calls in sub-agents"] == 7 / 11
    assert (figures["tool delay mean"], figures["tool delay max"]) == ((0 + 1 + 4) / 3, 4)
    assert not any("sub-agent" in figure.name for figure in statistics(generate(3, 0)))


def test_the_table_shows_the_target_beside_the_figure() -> None:
    table = statistics_table(statistics(generate(20, 0), AGENTPERF_TARGETS))
    assert "| 27,000 +-5% |" in table
    assert "| at most 200 | yes |" in table


def test_the_tables_of_the_readme_are_those_of_the_files() -> None:
    readme = (Path(__file__).parents[2] / "trajectories/README.md").read_text()
    assert readme_tables() in readme
