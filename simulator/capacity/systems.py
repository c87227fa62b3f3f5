"""Which deployment stands for a system that a comparison is asked about by name. Inputs are a scenario with cells and names of systems."""

from collections.abc import Sequence
from dataclasses import replace

from simulator.capacity.build import load_profiles, tier_of
from simulator.capacity.scenario import Cell, Scenario
from simulator.capacity.slo import SLO
from simulator.catalog import names
from simulator.hardware.load import load_system
from simulator.hardware.profile import parse
from simulator.hardware.schemas import DEPLOYMENT, POOL


def with_systems(scenario: Scenario, systems: Sequence[str]) -> Scenario:
    """The scenario for these systems in this order, at each of its tiers.

    A system's own cells stay. Where a tier has none, it takes the deployment that ships for the system and the model, of several the one
    made for the nearest tier, the first by name; where none ships, one is derived.

    Raises
    ------
    UserError
        When there is no such system, or the scenario has no cells.
    """
    wanted = [load_system(name).name for name in systems]  # an unknown name is told with the nearest one
    loaded = [(cell, load_profiles(asked)) for cell, asked in zip(scenario.cells, scenario.cell_scenarios(), strict=True)]
    own: dict[tuple[str, SLO], list[Cell]] = {}
    for cell, (system, _, deployment) in loaded:
        own.setdefault((system.name, cell.slo or scenario.slo or tier_of(deployment)), []).append(cell)
    tiers = list(dict.fromkeys(slo for _, slo in own))
    model = scenario.model or loaded[0][1][1].name
    shipped = _shipped(model) if any((name, slo) not in own for name in wanted for slo in tiers) else {}
    cells = [cell for slo in tiers for name in wanted for cell in own.get((name, slo)) or [_nearest(shipped.get(name, []), name, slo)]]
    return replace(scenario, model=model, cells=tuple(cells))


def _shipped(model: object) -> dict[str, list[tuple[str, float]]]:
    """System -> name and speed of the tier of every deployment of a model that ships, by name."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name in names("deployments"):
        profile = parse(name, DEPLOYMENT, "deployments", None, POOL)
        if profile["model"] == model:
            found.setdefault(profile["system"], []).append((name, profile.get("speed_floor_tok_s", 0.0)))
    return found


def _nearest(deployments: Sequence[tuple[str, float]], system: str, slo: SLO) -> Cell:
    """The cell of the deployment made for the tier whose speed is nearest; of none a derived one."""
    nearest = min(deployments, key=lambda named: abs(named[1] - slo.clauses[0].limit), default=None)
    return Cell(system, nearest[0] if nearest else {}, slo)
