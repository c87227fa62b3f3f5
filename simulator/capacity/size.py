"""What to buy for a number of agents: a plan for each system, the cheapest and the least-power one. Inputs are scenarios."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.capacity.build import load_profiles, tier_of
from simulator.capacity.demand import Demand
from simulator.capacity.hold import answer_all
from simulator.capacity.plan import Plan, plan_for
from simulator.capacity.point import Progress
from simulator.capacity.results import Answer
from simulator.capacity.scenario import Scenario
from simulator.capacity.slo import SLO
from simulator.capacity.uncertainty import carry
from simulator.errors import Mistake, UserError
from simulator.hardware.system import System

__all__ = ["SizeAnswer", "plans_for", "size"]


@dataclass(frozen=True)
class SizeAnswer:
    """Plans in the scenario's order; ``without`` are the deployments that hold not one agent at the SLO."""

    demand: Demand
    plans: tuple[Plan, ...]
    without: tuple[Answer, ...]

    @property
    def cheapest(self) -> Plan | None:
        """Of the plans within the limits the one that costs least by the price asked for, where its price is known."""
        known = [plan for plan in self.within if plan.bill.usd_per_hour[self.demand.price] > 0]
        return min(known, key=lambda plan: self._per_agent(plan, plan.bill.usd_per_hour[self.demand.price]), default=None)

    @property
    def runner_up(self) -> Plan | None:
        """The next cheapest plan within the limits."""
        others = [plan for plan in self.within if plan is not self.cheapest]
        return SizeAnswer(self.demand, tuple(others), ()).cheapest

    @property
    def least_power(self) -> Plan | None:
        """Of the plans within the limits the one that draws least on the basis of the limit."""
        basis = self.demand.limits.power_basis
        return min(self.within, key=lambda plan: self._per_agent(plan, getattr(plan.bill.power_mw, basis)), default=None)

    @property
    def within(self) -> list[Plan]:
        """The plans that can be bought."""
        return [plan for plan in self.plans if plan.fits]

    @property
    def largest(self) -> Plan | None:
        """The plan that serves most agents within the limits."""
        return max((plan for plan in self.plans if plan.most_agents), key=lambda plan: plan.most_agents, default=None)

    def _per_agent(self, plan: Plan, taken: float) -> float:
        """Plans that fill the limits serve different numbers of agents; those for a demand serve the same."""
        return taken / plan.agents if self.demand.agents is None else taken


def size(scenario: Scenario, progress: Progress | None = None, jobs: int | None = None) -> SizeAnswer:
    """What to buy: plans for the demand of the scenario's ``size`` section, over all of its systems.

    Parameters
    ----------
    scenario : Scenario
        With ``size``, and with ``cells`` or a deployment of its own.
    progress : callable, optional
        Told after every finished part.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The plans do not depend on it.

    Raises
    ------
    UserError
        When a part of the scenario is bad, its cells promise different SLOs, or nothing is asked.
    """
    if scenario.size is None:
        allowed, hint = "a mapping with agents, or with a limit such as power_mw", "as in scenarios/size.yaml"
        raise UserError(Mistake(scenario.name, "size", "nothing", allowed, hint))
    cells = scenario.cell_scenarios() if scenario.cells else (scenario,)
    profiles = [load_profiles(cell) for cell in cells]  # bad input is told before anything runs
    _one_promise(scenario, [cell.slo or tier_of(deployment) for cell, (_, _, deployment) in zip(cells, profiles, strict=True)])
    answers, _ = carry(cells, answer_all(cells, progress, jobs), (), progress, jobs)
    return plans_for(answers, [system for system, _, _ in profiles], scenario.size)


def plans_for(answers: Sequence[Answer], systems: Sequence[System], demand: Demand) -> SizeAnswer:
    """The plans of answers that are known already, each with the system it stands on."""
    pairs = list(zip(answers, systems, strict=True))
    plans = tuple(plan_for(answer, system, demand) for answer, system in pairs if answer.agents_held)
    return SizeAnswer(demand, plans, tuple(answer for answer, _ in pairs if not answer.agents_held))


def _one_promise(scenario: Scenario, promises: Sequence[SLO]) -> None:
    if any(promise != promises[0] for promise in promises):
        hint = "plans are compared at one promise: give slo at the top"
        raise UserError(Mistake(scenario.name, "cells", "cells with different SLOs", "one SLO for all cells", hint))
