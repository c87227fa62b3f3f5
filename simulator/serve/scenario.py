"""What a scenario serves: its fleet, the longest call it takes, and the service in front of it. Inputs are scenarios."""

from collections.abc import Callable

import numpy as np

from simulator.capacity.build import load_profiles
from simulator.capacity.context import context_limit
from simulator.capacity.fleet import engine_fleet, engine_pools
from simulator.capacity.scenario import Scenario
from simulator.errors import Mistake, UserError
from simulator.serve.asked import Served
from simulator.serve.fleet import ServedFleet
from simulator.serve.metrics import Metrics
from simulator.serve.service import Service


def one_cell(scenario: Scenario, cell: int | None) -> Scenario:
    """The scenario itself, or one cell of a comparison, counted from 1."""
    if not scenario.cells:
        return scenario
    cells = scenario.cell_scenarios()
    if cell is None or not 1 <= cell <= len(cells):
        found = "nothing" if cell is None else str(cell)
        raise UserError(Mistake(scenario.name, "--cell", found, f"1 to {len(cells)}", "the scenario compares several: say which to serve"))
    return cells[cell - 1]


def serve_scenario(
    scenario: Scenario, answer_tokens: int, time_scale: float, tell: Callable[[str], None], model_name: str | None = None
) -> tuple[Service, Served]:
    """The service of a scenario, and what can be asked of it; its load is not looked at.

    Raises
    ------
    UserError
        When a profile is bad, or no call fits the KV pool of a rank.
    """
    system, model, deployment = load_profiles(scenario)
    limit, _ = context_limit(deployment)
    none = np.zeros(0, np.int64)
    fleet = ServedFleet(engine_fleet(deployment, engine_pools(system, model, deployment), none, none))
    served = Served(model_name or model.name, limit, answer_tokens)
    pmf = deployment.accept_pmf if deployment.drafts else (1.0,)
    service = Service(fleet, Metrics(fleet, served.model, system.name), tuple(pmf), time_scale, tell)
    return service, served
