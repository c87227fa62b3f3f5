"""Purchase plans as plain values for `--json`: fixed keys in a fixed order. Inputs are answers of `size`."""

from typing import Any

from simulator.capacity.answers_json import rounded
from simulator.capacity.demand import Demand
from simulator.capacity.plan import Bill, Plan, bases
from simulator.capacity.size import SizeAnswer


def size_json(found: SizeAnswer) -> dict[str, Any]:
    """The whole answer; ``cheapest`` and ``least_power`` name plans by their place, null where none stays within the limits."""
    places = {id(plan): place for place, plan in enumerate(found.plans)}

    def place(plan: Plan | None) -> int | None:
        return None if plan is None else places[id(plan)]

    return dict(
        rounded(
            {
                "demand": demand_json(found.demand),
                "cheapest": place(found.cheapest),
                "least_power": place(found.least_power),
                "largest": place(found.largest),
                "plans": [plan_json(plan) for plan in found.plans],
                "without": [
                    {"system": answer.system, "deployment": answer.deployment, "sentence": answer.sentence} for answer in found.without
                ],
            }
        )
    )


def demand_json(demand: Demand) -> dict[str, Any]:
    """What was asked, with the site's prices and where they come from."""
    limits = vars(demand.limits)
    tariff = {
        name: {"value": field.value, "unit": field.unit, "source": field.source, "quality": field.quality}
        for name, field in demand.tariff.items()
    }
    own = {key: value for key, value in vars(demand).items() if key not in ("limits", "tariff")}
    return {**own, "agents_grown": demand.grown, **limits, **tariff}


def plan_json(plan: Plan) -> dict[str, Any]:
    """One plan; of its answer what the plan rests on."""
    answer = plan.answer
    return {
        "system": answer.system,
        "model": answer.model,
        "deployment": answer.deployment,
        "slo": answer.slo,
        "fits": plan.fits,
        "exceeded": plan.exceeded,
        "agents": plan.agents,
        "agents_held": plan.agents_held,
        "headroom_share": plan.headroom_share,
        "agents_per_instance": answer.agents_held,
        "interval_per_instance": answer.interval,
        "accelerator_w_per_gpu": answer.accelerator_w_per_gpu,
        "needed": plan.needed,
        **bill_json(plan.bill),
        "systems_interval": plan.systems_interval,
        "usd_per_agent_hour": plan.usd_per_agent_hour,
        "usd_per_trajectory": plan.usd_per_trajectory,
        "trajectories_per_hour": plan.trajectories_per_hour,
        "most_instances": plan.most_instances,
        "most_agents": plan.most_agents,
        "binds": plan.binds,
        "growth": [{"year": year, "agents": agents, **bill_json(bill)} for year, agents, bill in plan.growth],
        "limiter": answer.limiter,
        "quality": answer.quality,
        "price_quality": plan.price_quality,
    }


def bill_json(bill: Bill) -> dict[str, Any]:
    """What a number of instances takes."""
    return vars(bill) | {"power_mw": bases(bill.power_mw)}
