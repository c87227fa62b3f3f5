"""The studies of a comparison that seek many more edges: frontier, workload and power cap. Inputs are the cells of a scenario.

Every point is sought on the first seed by full phases, near what short ones found, to a share of 2 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from simulator.capacity.build import load_profiles, prepare, tier_of
from simulator.capacity.hold import answer
from simulator.capacity.journal import Journal, journalled
from simulator.capacity.point import Progress
from simulator.capacity.scenario import Scenario, TrajectoryLoad
from simulator.capacity.search import search
from simulator.capacity.seed_search import SCOUT_SHARE, Phases, scouting, search_seed
from simulator.capacity.slo import SLO, SPEED, TTFT
from simulator.capacity.study import NO_STUDIES, Studies, StudyPoint
from simulator.capacity.sweep_key import point_key

RESOLUTION = 0.02
"""Share to which a point closes in; nearer differences are not told apart."""

Asked = tuple[str, str, float, Scenario]
"""Study, axis, value on it, and the scenario to ask."""


def play_studies(
    cells: Sequence[Scenario],
    studies: Studies,
    progress: Progress | None = None,
    jobs: int | None = None,
    journal: Journal | None = None,
) -> tuple[StudyPoint, ...]:
    """The points of the studies that seek edges, in the order of study, axis, machine and value.

    Parameters
    ----------
    cells : sequence of Scenario
        As `Scenario.cell_scenarios` gives them.
    studies : Studies
    progress : callable, optional
        Told after every point.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The points do not depend on it.
    journal : Journal, optional
        Points in it are not sought again.
    """
    asked = [*_frontier(cells, studies), *_workload(cells, studies), *_power_cap(cells, studies)]
    keys = [key_of(*each) for each in asked] if journal else []
    return tuple(journalled([(seek, each) for each in asked], keys, journal, progress, jobs))


def key_of(study: str, axis: str, value: float, scenario: Scenario) -> str:
    """Digest of all that a point follows from: the scenario, its profiles, its load and this code."""
    bare = replace(scenario, studies=NO_STUDIES, size=None, seeds=scenario.seeds[:1])
    return point_key(bare, f"study {study} {axis} {value!r}", load_profiles(scenario))


def seek(study: str, axis: str, value: float, scenario: Scenario) -> StudyPoint:
    """What a scenario's deployment holds, as a point of a study."""
    seed = scenario.seeds[0]
    scouts = Phases(scouting(prepare(scenario, seed)), None, scout=True)
    coarse = replace(scenario.search, share=max(RESOLUTION, scenario.search.share))
    guess = search(scouts, replace(coarse, share=max(SCOUT_SHARE, coarse.share))).held if scenario.scout_s else None
    found = answer([search_seed(replace(scenario, search=coarse), seed, guess)])
    return StudyPoint(
        study=study,
        axis=axis,
        value=value,
        system=found.system,
        deployment=found.deployment,
        slo=found.slo,
        gpus=found.gpus,
        agents=found.agents_held,
        watts_per_gpu=found.held.watts_per_gpu if found.held else None,
        cache_hit=found.cache_hit,
        limiter=found.limiter,
        binding=found.binding,
        quality=found.quality,
    )


def machines(cells: Sequence[Scenario]) -> list[Scenario]:
    """Every deployment on every system once, whatever the tiers it stands in; the first one's."""
    found = {repr((cell.system, cell.model, cell.deployment, cell.power_cap_w)): cell for cell in reversed(cells)}
    return [cell for cell in cells if found[repr((cell.system, cell.model, cell.deployment, cell.power_cap_w))] is cell]


def _frontier(cells: Sequence[Scenario], studies: Studies) -> Iterator[Asked]:
    if "frontier" not in studies:
        return
    ceiling = studies.ttft_s or max(
        (clause.limit for cell in cells for clause in _promise(cell).clauses if clause.quantity == TTFT), default=10.0
    )
    for cell in machines(cells):
        percentiles = {clause.quantity: clause.percentile for clause in _promise(cell).clauses}
        for speed in studies.speeds_tok_s:
            slo = SLO.speed_and_ttft(speed, ceiling, percentiles.get(SPEED, 25), percentiles.get(TTFT, 95))
            yield "frontier", "speed_tok_s", speed, replace(cell, slo=slo)


def _workload(cells: Sequence[Scenario], studies: Studies) -> Iterator[Asked]:
    """Every cell at its own SLO, one property of the load moved at a time; the load as it is first."""
    if "workload" not in studies:
        return
    axes = {"prompt_scale": studies.context, "kept_scale": studies.reuse, "tool_delay_scale": studies.tool_time}
    for cell in cells:
        load = cell.workload
        yield "workload", "as it is", 1.0, cell
        if isinstance(load, TrajectoryLoad):
            for axis, factors in axes.items():
                for factor in factors:
                    yield "workload", axis, factor, replace(cell, workload=replace(load, **{axis: getattr(load, axis) * factor}))


def _power_cap(cells: Sequence[Scenario], studies: Studies) -> Iterator[Asked]:
    """Every cell under caps below the TDP that it can be given, and without one."""
    if "power_cap" not in studies:
        return
    for cell in cells:
        system = load_profiles(replace(cell, power_cap_w=None))[0]
        for share in studies.caps:
            if system.idle_w <= share * system.tdp_w < system.tdp_w:
                yield "power_cap", "cap_share", share, replace(cell, power_cap_w=share * system.tdp_w)
        yield "power_cap", "cap_share", 1.0, replace(cell, power_cap_w=None)


def _promise(cell: Scenario) -> SLO:
    return cell.slo or tier_of(load_profiles(cell)[2])
