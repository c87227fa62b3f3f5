"""Several systems and tiers side by side: answers, sprint tests and ratios. Inputs come from a scenario with cells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from simulator.capacity.attribute import attribute
from simulator.capacity.build import Prepared, load_profiles, prepare
from simulator.capacity.contrast import contrasts_of
from simulator.capacity.cost import costs_of
from simulator.capacity.hold import BASES, answer_beside
from simulator.capacity.journal import Journal
from simulator.capacity.metrics import Window
from simulator.capacity.point import Progress, play_window
from simulator.capacity.results import Answer, Comparison, Sprint
from simulator.capacity.scenario import FixedLoad, Phase, Scenario
from simulator.capacity.studies import play_studies
from simulator.capacity.uncertainty import carry

SPRINT_ISL, SPRINT_OSL = 8192, 1024
"""The shape most published sprint tests use."""
ENOUGH_GAIN = 0.03
"""Doubling the concurrency goes on while it raises the throughput by at least this share."""
MOST_CONCURRENCY = 65_536


def compare(scenario: Scenario, progress: Progress | None = None, jobs: int | None = None, journal: Journal | None = None) -> Comparison:
    """The answers of all cells of a scenario, both sprint tests of each system, and the ratios to the first system of each tier.

    Parameters
    ----------
    scenario : Scenario
        With ``cells``.
    progress : callable, optional
        Told after every finished part.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The answers do not depend on it.
    journal : Journal, optional
        Points and edges of studies that need not be sought again, and where new ones are told.

    Raises
    ------
    UserError
        When a part of the scenario is bad.

    Examples
    --------
    >>> from simulator import compare, load_scenario
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "slo.speed_tok_s": 60, "seeds": 1}
    >>> cells = [{"deployment": "hgx_h200_v4pro_20tps"}, {"deployment": "hgx_b200_v4pro_20tps"}]
    >>> found = compare(load_scenario("what_if", small | {"cells": cells}), jobs=1)
    >>> [answer.system for answer in found.answers], [(row["system"], row["against"]) for row in found.ratios]
    (['hgx_h200', 'hgx_b200'], [('hgx_b200', 'hgx_h200')])
    """
    cells = scenario.cell_scenarios()
    for cell in cells:
        load_profiles(cell)  # bad input is told before anything runs
    answers, tests = answer_beside(cells, [(sprint, (cell,)) for cell in cells], progress, jobs)
    sprints = best_sprints(tests)
    answers, uncertain = carry(cells, answers, pairs(answers), progress, jobs)
    if "limits" in scenario.studies:
        answers = attribute(cells, answers, progress, jobs, journal)
    points = play_studies(cells, scenario.studies, progress, jobs, journal)
    costs = costs_of(cells, answers) if "cost" in scenario.studies else ()
    contrasts = contrasts_of(answers, sprints) if "sprint" in scenario.studies else ()
    return Comparison(tuple(answers), sprints, ratios(answers, sprints), uncertain, points, costs, contrasts)


def sprint(cell: Scenario, progress: Progress | None = None) -> Sprint:
    """Both sprint tests of one deployment: a completion alone, and peak throughput by doubling the concurrency."""
    prepared = prepare(replace(cell, workload=FixedLoad(SPRINT_ISL, SPRINT_OSL, 1, 0, 0.0)), cell.seeds[0])
    window = alone = _sprint_phase(prepared, 1, 0.0)
    peak, peak_at, agents = 0.0, 1, 1
    while True:
        # Little's law over like calls without think time: no error from the calls that the window's ends cut.
        rate = agents * SPRINT_OSL / _latency_s(window)
        gain = rate / peak - 1 if peak else 1.0
        if rate > peak:
            peak, peak_at = rate, agents
        if progress:
            progress(f"{prepared.deployment.name}: {agents} fixed calls at once, {rate:,.0f} output tok/s")
        if gain < ENOUGH_GAIN or 2 * agents > MOST_CONCURRENCY:
            break
        agents *= 2
        window = _sprint_phase(prepared, agents, _latency_s(window))
    return Sprint(
        system=prepared.system.name,
        deployment=prepared.deployment.name,
        single_ttft_s=float(alone.ttft_s.mean()),
        single_speed_tok_s=float(alone.speed_tok_s.mean()),
        peak_output_tok_s=peak,
        peak_output_tok_s_per_gpu=peak / prepared.deployment.gpus,
        peak_concurrency=peak_at,
        single_deployment=prepared.deployment.name,
    )


def _sprint_phase(prepared: Prepared, agents: int, latency_s: float) -> Window:
    """Every agent sends like calls one after another, at least two of them in the window.

    Starts spread over the latency at half the concurrency, so that calls in all states are in flight when the window opens.
    """
    phase = Phase(latency_s, latency_s, 1e-6, 0, 4 if agents > 1 else 2, 0, 1e6)
    return play_window(replace(prepared, scenario=replace(prepared.scenario, phase=phase)), agents)


def _latency_s(window: Window) -> float:
    """Mean seconds from send to last token."""
    return float((window.output_tokens / window.e2e_speed_tok_s).mean())


def best_sprints(tests: Sequence[Sprint]) -> tuple[Sprint, ...]:
    """One row for each system: each test with the deployment that does best in it."""
    found = []
    for system in dict.fromkeys(test.system for test in tests):
        own = [test for test in tests if test.system == system]
        peak = max(own, key=lambda test: test.peak_output_tok_s_per_gpu)
        single = max(own, key=lambda test: test.single_speed_tok_s)
        found.append(
            replace(
                peak,
                single_ttft_s=single.single_ttft_s,
                single_speed_tok_s=single.single_speed_tok_s,
                single_deployment=single.single_deployment,
            )
        )
    return tuple(found)


def pairs(answers: Sequence[Answer]) -> list[tuple[int, int]]:
    """Places of every answer but the first of its tier, each with that of the first."""
    first: dict[str, int] = {}
    placed = [(place, first.setdefault(tier_name(answer.slo), place)) for place, answer in enumerate(answers)]
    return [(place, base) for place, base in placed if place != base]


def ratios(answers: Sequence[Answer], sprints: Sequence[Sprint]) -> tuple[dict[str, Any], ...]:
    """Every answer against the first one of its tier; nan where that one is zero."""
    tests = {test.system: test for test in sprints}
    rows = []
    for answer, base in ((answers[one], answers[other]) for one, other in pairs(answers)):
        row: dict[str, Any] = {"tier": tier_name(answer.slo), "system": answer.system, "against": base.system}
        row["agents_per_gpu"] = _ratio(answer.agents_per_gpu, base.agents_per_gpu)
        for basis in BASES:
            row[f"agents_per_mw_{basis}"] = _ratio(getattr(answer.agents_per_mw, basis), getattr(base.agents_per_mw, basis))
        if answer.system in tests and base.system in tests:
            own, other = tests[answer.system], tests[base.system]
            row["sprint_single"] = _ratio(own.single_speed_tok_s, other.single_speed_tok_s)
            row["sprint_peak"] = _ratio(own.peak_output_tok_s_per_gpu, other.peak_output_tok_s_per_gpu)
        rows.append(row)
    return tuple(rows)


def tier_name(slo: Mapping[str, Any]) -> str:
    """An SLO's short name: ``20 tok/s & 10 s``."""
    if "e2e_speed_tok_s" in slo:
        return f"{slo['e2e_speed_tok_s']:g} tok/s E2E"
    return f"{slo['speed_tok_s']:g} tok/s & {slo['ttft_s']:g} s"


def _ratio(value: float, base: float) -> float:
    return value / base if base else float("nan")
