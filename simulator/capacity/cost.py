"""What the agents of an answer cost, by the GPUs that its deployment uses. Inputs are answers and the prices of their systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.capacity.build import load_profiles
from simulator.capacity.demand import PRICES, Demand
from simulator.capacity.plan import HOURS_PER_YEAR, price_quality, trajectories_per_agent_hour
from simulator.capacity.results import Answer
from simulator.capacity.scenario import Scenario
from simulator.hardware.power import watts_per_gpu
from simulator.hardware.system import System


@dataclass(frozen=True)
class Cost:
    """Money by price (``own``, ``rent``, ``buy``), nan where the profile lacks it; of whole racks and spares `size` knows."""

    system: str
    deployment: str
    slo: dict[str, Any]
    usd_per_gpu_hour: dict[str, float]
    usd_per_agent_hour: dict[str, float]
    usd_per_trajectory: dict[str, float]
    capital_usd_per_agent: float
    quality: dict[str, str]


def costs_of(scenarios: Sequence[Scenario], answers: Sequence[Answer]) -> tuple[Cost, ...]:
    """The cost of every answer that holds somebody."""
    pairs = zip(scenarios, answers, strict=True)
    return tuple(cost_of(answer, load_profiles(scenario)[0], scenario.size or Demand()) for scenario, answer in pairs if answer.agents_held)


def cost_of(answer: Answer, system: System, site: Demand) -> Cost:
    """What an agent takes: its share of the GPUs, at the system's prices and the site's."""
    capital = system.capital_usd / system.gpus or float("nan")
    kilowatts = watts_per_gpu(system, answer.accelerator_w_per_gpu)["facility"] / 1000
    written_off = capital / (site.tariff["written_off_years"].value * HOURS_PER_YEAR)
    bought = written_off + kilowatts * site.tariff["electricity_usd_per_kwh"].value
    rates = (system.own_usd_per_gpu_hour or float("nan"), system.rent_usd_per_gpu_hour or float("nan"), bought)
    hourly = dict(zip(PRICES, rates, strict=True))
    per_agent = {price: rate / answer.agents_per_gpu for price, rate in hourly.items()}
    trajectories = trajectories_per_agent_hour(answer)
    return Cost(
        system=answer.system,
        deployment=answer.deployment,
        slo=answer.slo,
        usd_per_gpu_hour=hourly,
        usd_per_agent_hour=per_agent,
        usd_per_trajectory={price: rate / trajectories if trajectories else float("nan") for price, rate in per_agent.items()},
        capital_usd_per_agent=capital / answer.agents_per_gpu,
        quality={price: price_quality(system, Demand(price=price, tariff=site.tariff)) for price in PRICES},
    )
