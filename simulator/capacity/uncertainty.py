"""What the errors of the profiles' fields make of answers and of the ratios between them. Inputs are scenarios with their answers.

Every draw moves the groups of fields that may be wrong, and the SLO's edge is sought again with the same load and seed. The edge's ratio to
that of the unmoved profiles is applied to the answer. Draws are common to all scenarios, so an error they share cancels in a ratio.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simulator.capacity.build import Prepared, prepare
from simulator.capacity.point import Progress
from simulator.capacity.processes import in_processes
from simulator.capacity.results import Answer, Interval, Swing, Uncertainty
from simulator.capacity.scenario import Sampling, Scenario
from simulator.capacity.seed_search import scouting
from simulator.capacity.uncertainty_draws import Z90, Draw, Moving, latin_hypercube, moving_groups
from simulator.capacity.uncertainty_edge import Edge, find_edge, moved_edge
from simulator.hardware.power import watts_per_gpu
from simulator.hardware.quality import worst_quality
from simulator.hardware.spread import Group, factor
from simulator.units import W_PER_MW

PERCENTILES = (5, 10, 50, 90, 95)

Figures = Mapping[str, float]
"""Quantity -> value of one draw."""


@dataclass(frozen=True)
class Spread:
    """One answer with every draw played: ``alone`` has each group at its better and its worse end, ``drawn`` the samples."""

    answer: Answer
    nominal: Figures
    moving: Mapping[Group, Moving]
    alone: Mapping[Group, tuple[Figures, Figures]]
    drawn: Sequence[Figures]


def spread_answers(
    scenarios: Sequence[Scenario], answers: Sequence[Answer], sampling: Sampling, progress: Progress | None = None, jobs: int | None = None
) -> list[Spread | None]:
    """Every answer under the errors of its profiles; None where not one agent holds, for then there is no edge to move.

    Parameters
    ----------
    scenarios, answers : sequences of equal length
    sampling : Sampling
    progress : callable, optional
        Told after every draw.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The result does not depend on it.
    """
    asked = [(s, a) for s, a in zip(scenarios, answers, strict=True) if a.agents_held]
    moving = [{found.group: found for found in moving_groups(s)} for s, _ in asked]
    hypercube = latin_hypercube(list(dict.fromkeys(g for groups in moving for g in groups)), sampling.samples, sampling.seed)
    bases = in_processes([(_base, (s, sampling)) for s, _ in asked], progress, 1)
    nominal = in_processes([(find_edge, (base, a.agents_held)) for base, (_, a) in zip(bases, asked, strict=True)], progress, jobs)
    cells = list(zip(bases, nominal, strict=True))
    ends = [[{group: z} for group in groups for z in (-Z90, Z90)] for groups in moving]
    alone = [
        dict(zip(groups, zip(edges[::2], edges[1::2], strict=True), strict=True))
        for groups, edges in zip(moving, _play(cells, ends, [{} for _ in cells], progress, jobs), strict=True)
    ]
    draws = [[{group: row[group] for group in groups} for row in hypercube] for groups in moving]
    drawn = _play(cells, draws, alone, progress, jobs)
    found = iter(_spread(*parts) for parts in zip((a for _, a in asked), nominal, moving, alone, drawn, strict=True))
    return [next(found) if answer.agents_held else None for answer in answers]


def _base(scenario: Scenario, sampling: Sampling, progress: Progress | None = None) -> Prepared:
    """The first seed of a scenario, under the phases in which draws are played."""
    prepared = prepare(scenario, scenario.seeds[0])
    if not sampling.scout_s:
        return prepared
    return scouting(replace(prepared, scenario=replace(scenario, scout_s=sampling.scout_s)))


Alone = Mapping[Group, tuple[Edge, Edge]]
"""Group -> the edge with it alone moved to its better and to its worse end."""


def _play(
    cells: Sequence[tuple[Prepared, Edge]],
    draws: Sequence[Sequence[Draw]],
    alone: Sequence[Alone],
    progress: Progress | None,
    jobs: int | None,
) -> list[list[Edge]]:
    """The edges of every cell's draws, all cells in one go."""
    tasks = [
        (moved_edge, (base, edge, draw, _guess(edge, known, draw)))
        for (base, edge), own, known in zip(cells, draws, alone, strict=True)
        for draw in own
    ]
    edges = iter(in_processes(tasks, progress, jobs))
    return [[next(edges) for _ in own] for own in draws]


def _guess(nominal: Edge, alone: Alone, draw: Draw) -> int:
    """Where the edge of a draw should lie, by what each group did alone: only the start of a search, so no answer depends on it."""
    agents = nominal.agents
    for group, z in draw.items():
        if group in alone and nominal.agents:
            agents *= max(0.1, alone[group][z > 0].agents / nominal.agents) ** (abs(z) / Z90)
    return max(1, round(agents))


def _spread(answer: Answer, nominal: Edge, moving: Mapping[Group, Moving], alone: Alone, drawn: Sequence[Edge]) -> Spread | None:
    if not nominal.agents:
        return None
    return Spread(
        answer=answer,
        nominal=_figures(answer, nominal, nominal),
        moving=moving,
        alone={group: (_figures(answer, nominal, good), _figures(answer, nominal, bad)) for group, (good, bad) in alone.items()},
        drawn=[_figures(answer, nominal, edge) for edge in drawn],
    )


def _figures(answer: Answer, nominal: Edge, edge: Edge) -> Figures:
    """The answer's quantities at an edge: counts and accelerator watts by their ratio to the unmoved edge."""
    agents = answer.agents_held * edge.agents / nominal.agents
    drawn_w = edge.accelerator_w if edge.held else nominal.accelerator_w
    watts = watts_per_gpu(edge.system, answer.accelerator_w_per_gpu * drawn_w / nominal.accelerator_w)
    per_mw = {f"agents_per_mw_{basis}": agents / (answer.gpus * each) * W_PER_MW for basis, each in watts.items()}
    return {"agents_held": agents, "agents_per_gpu": agents / answer.gpus, **per_mw}


def carry(
    scenarios: Sequence[Scenario],
    answers: Sequence[Answer],
    pairs: Sequence[tuple[int, int]] = (),
    progress: Progress | None = None,
    jobs: int | None = None,
) -> tuple[list[Answer], tuple[Uncertainty | None, ...]]:
    """The answers with what the errors of their profiles make of them, and the same of the ratios of pairs of answers.

    Parameters
    ----------
    scenarios, answers : sequences of equal length
        Without ``uncertainty`` in the scenarios the answers come back as they are, and no ratios.
    pairs : sequence of (int, int)
        Places of two answers, the second one the divisor.
    progress : callable, optional
        Told after every draw.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The result does not depend on it.
    """
    sampling = scenarios[0].uncertainty
    if sampling is None:
        return list(answers), ()
    spreads = spread_answers(scenarios, answers, sampling, progress, jobs)
    carried = [replace(a, uncertainty=of_answer(s, sampling)) if s else a for a, s in zip(answers, spreads, strict=True)]
    ratios = []
    for one, other in pairs:
        top, bottom = spreads[one], spreads[other]
        ratios.append(of_ratio(top, bottom, sampling) if top and bottom else None)
    return carried, tuple(ratios)


def of_answer(spread: Spread, sampling: Sampling) -> Uncertainty:
    """Intervals and tornado of one answer."""
    return _summed(spread.answer.deployment, spread.nominal, spread.alone, spread.drawn, spread.moving, sampling)


def of_ratio(spread: Spread, against: Spread, sampling: Sampling) -> Uncertainty:
    """Intervals and tornado of one answer over another, draw by draw."""

    def over(one: Figures, other: Figures) -> Figures:
        return {key: _over(value, other[key]) for key, value in one.items() if key != "agents_held"}

    def end(of: Spread, group: Group, side: int) -> Figures:
        return of.alone[group][side] if group in of.alone else of.nominal

    moving = {**against.moving, **spread.moving}
    alone = {g: (over(end(spread, g, 0), end(against, g, 0)), over(end(spread, g, 1), end(against, g, 1))) for g in moving}
    drawn = [over(one, other) for one, other in zip(spread.drawn, against.drawn, strict=True)]
    name = f"{spread.answer.deployment} / {against.answer.deployment}"
    return _summed(name, over(spread.nominal, against.nominal), alone, drawn, moving, sampling)


def _summed(
    name: str,
    nominal: Figures,
    alone: Mapping[Group, tuple[Figures, Figures]],
    drawn: Sequence[Figures],
    moving: Mapping[Group, Moving],
    sampling: Sampling,
) -> Uncertainty:
    intervals = {key: _interval([figures[key] for figures in drawn]) for key in nominal}
    swings = [
        _swing(moving[group], {key: (good[key], bad[key]) for key in nominal})
        for group, (good, bad) in alone.items()
        if any(end[key] != nominal[key] for end in (good, bad) for key in nominal)
    ]
    ordered = tuple(sorted(swings, key=_width, reverse=True))
    return Uncertainty(name, sampling.samples, sampling.seed, dict(nominal), intervals, ordered)


def _over(value: float, base: float) -> float:
    """A ratio; infinite over a base of nobody, and nan where both hold nobody."""
    if base:
        return value / base
    return math.inf if value else math.nan


def _interval(values: Sequence[float]) -> Interval:
    """Percentiles, linear between draws as `numpy.percentile` has them, of values that may be infinite; nan is left out."""
    known = sorted(value for value in values if not math.isnan(value)) or [math.nan]
    return Interval(*(_percentile(known, percentile) for percentile in PERCENTILES))


def _percentile(ordered: Sequence[float], percentile: float) -> float:
    place = percentile / 100 * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below if below == above else below + (above - below) * (place - math.floor(place))


def _swing(moving: Moving, values: dict[str, tuple[float, float]]) -> Swing:
    first = moving.fields[0]
    return Swing(
        profile=moving.group.subject,
        fields=tuple(field.name for field in moving.fields),
        quality=worst_quality(field.quality for field in moving.fields),
        factors=(factor(first, -Z90), factor(first, Z90)),
        values=values,
    )


def _width(swing: Swing) -> float:
    """The widest of a swing's quantities, as a logarithm; infinite where one end holds nothing."""
    return max(abs(math.log(a / b)) if a > 0 and b > 0 else math.inf if a != b else 0.0 for a, b in swing.values.values())
