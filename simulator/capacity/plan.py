"""The arithmetic of a purchase: whole systems for a number of instances, what they draw and cost, and what stays within limits.

Inputs are an answer of `capacity`, the system it stands on and a demand. An instance is one copy of the deployment that was simulated.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from simulator.capacity.demand import PRICES, Demand, Limits
from simulator.capacity.results import Answer, PowerBases
from simulator.hardware.power import BASES, watts_per_gpu
from simulator.hardware.quality import worst_quality
from simulator.hardware.schemas import PRICES as PRICE_FIELDS
from simulator.hardware.system import System
from simulator.units import W_PER_MW

HOURS_PER_YEAR = 8760
MOST_INSTANCES = 10_000_000
"""A limit that this many instances meet is none."""
SLACK = 1e-9
"""Rounding of a float that must not buy another instance."""


@dataclass(frozen=True)
class Bill:
    """What a number of instances takes. Money is nan where the profile lacks the price.

    ``systems`` are racks or nodes, bought whole; ``gpus`` all in them, ``gpus_used`` those of the instances; the others idle.
    ``usd_per_hour`` is by price: ``own``, ``rent``, ``buy``.
    """

    instances: int
    systems: int
    gpus: int
    gpus_used: int
    power_mw: PowerBases
    capital_usd: float
    usd_per_hour: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """One system's purchase for a demand.

    Attributes
    ----------
    answer : Answer
        Of one instance.
    needed : int
        Instances that hold the demand with its headroom; the spare ones are in ``bill.instances`` beside them.
    agents : float
        That are served: the demand in its last year, or as many as fit where none was asked for.
    agents_held : int
        By the needed instances together.
    headroom_share : float
        Agents held beyond those served, as a share of these.
    bill : Bill
    exceeded : tuple of str
        Limits that the purchase breaks: ``power_mw systems capital_usd usd_per_hour``; empty for a plan that can be bought.
    most_instances, most_agents : int
        What fits within the limits, spare included, and the agents served with the headroom asked for; as many as are bought, where nothing
        is limited.
    binds : str
        The limit that keeps more from fitting; empty without limits.
    usd_per_agent_hour, usd_per_trajectory, trajectories_per_hour : float
        By the price asked for, over the agents served; trajectories as they finish at the held point.
    systems_interval : (int, int)
        Systems by the largest and the smallest answer of the seeds.
    growth : tuple of (int, float, Bill)
        Year, agents and what they take, from the first day on.
    price_quality : str
        Worst of the prices that the plan's cost rests on; the answer has its own quality.
    """

    answer: Answer
    system: System
    needed: int
    agents: float
    agents_held: int
    headroom_share: float
    bill: Bill
    exceeded: tuple[str, ...]
    most_instances: int
    most_agents: int
    binds: str
    usd_per_agent_hour: float
    usd_per_trajectory: float
    trajectories_per_hour: float
    systems_interval: tuple[int, int]
    growth: tuple[tuple[int, float, Bill], ...]
    price_quality: str

    @property
    def fits(self) -> bool:
        """Whether it can be bought within the limits."""
        return not self.exceeded and self.needed > 0


def systems_for(instances: int, gpus: int, system: System) -> int:
    """Racks or nodes for instances of so many GPUs each: as many as fit whole in one, or several for an instance larger than one."""
    if gpus > system.gpus:
        return instances * -(-gpus // system.gpus)
    return -(-instances // (system.gpus // gpus))


def bill_for(instances: int, answer: Answer, system: System, demand: Demand) -> Bill:
    """What a number of instances takes when each draws what it draws at the held count."""
    systems = systems_for(instances, answer.gpus, system)
    gpus, used = systems * system.gpus, instances * answer.gpus
    accelerator_w = (used * answer.accelerator_w_per_gpu + (gpus - used) * system.idle_w) / gpus if gpus else 0.0
    watts = {basis: gpus * each / W_PER_MW for basis, each in watts_per_gpu(system, accelerator_w).items()}
    capital = systems * system.capital_usd or float("nan")
    hours = demand.tariff["written_off_years"].value * HOURS_PER_YEAR
    electricity = watts["facility"] * 1000 * demand.tariff["electricity_usd_per_kwh"].value
    per_hour = (gpus * system.own_usd_per_gpu_hour, gpus * system.rent_usd_per_gpu_hour, capital / hours + electricity)
    costs = {price: usd or float("nan") for price, usd in zip(PRICES, per_hour, strict=True)}
    return Bill(instances, systems, gpus, used, PowerBases(**watts), capital, costs)


def broken_limits(bill: Bill, limits: Limits, price: str) -> tuple[str, ...]:
    """The limits that a bill exceeds; an unknown price exceeds every limit of money."""
    taken = {
        "power_mw": (getattr(bill.power_mw, limits.power_basis), limits.power_mw),
        "systems": (bill.systems, limits.systems),
        "capital_usd": (bill.capital_usd, limits.capital_usd),
        "usd_per_hour": (bill.usd_per_hour[price], limits.usd_per_hour),
    }
    return tuple(name for name, (value, limit) in taken.items() if limit is not None and not value <= limit * (1 + SLACK))


def most_instances(answer: Answer, system: System, demand: Demand) -> tuple[int, str]:
    """Instances that fit within the limits, and the first limit that one more would break."""

    def breaks(count: int) -> tuple[str, ...]:
        return broken_limits(bill_for(count, answer, system, demand), demand.limits, demand.price)

    fit, no = 0, 1
    while not breaks(no):
        fit, no = no, 2 * no
        if fit >= MOST_INSTANCES:
            return fit, ""
    while no - fit > 1:
        middle = (fit + no) // 2
        fit, no = (fit, middle) if breaks(middle) else (middle, no)
    return fit, breaks(no)[0]


def instances_for(agents: float, held: int, headroom_share: float) -> int:
    """Instances that hold so many agents with headroom."""
    return math.ceil(agents * (1 + headroom_share) / held - SLACK)


def plan_for(answer: Answer, system: System, demand: Demand) -> Plan:
    """The purchase of one system for a demand: as many instances as it needs, or as fit where the demand gives no agents."""
    held = answer.agents_held
    most, binds = most_instances(answer, system, demand) if demand.limits.any else (0, "")
    served = math.floor(max(0, most - demand.spare) * held / (1 + demand.headroom_share) + SLACK)
    agents = float(served) if demand.agents is None else demand.grown
    needed = instances_for(agents, held, demand.headroom_share)
    bill = bill_for(needed + demand.spare, answer, system, demand)
    rate = agents * trajectories_per_agent_hour(answer)
    usd = bill.usd_per_hour[demand.price]
    return Plan(
        answer=answer,
        system=system,
        needed=needed,
        agents=agents,
        agents_held=needed * held,
        headroom_share=needed * held / agents - 1 if agents else float("nan"),
        bill=bill,
        exceeded=broken_limits(bill, demand.limits, demand.price),
        most_instances=most or bill.instances,
        most_agents=served if demand.limits.any else needed * held,
        binds=binds,
        usd_per_agent_hour=usd / agents if agents else float("nan"),
        usd_per_trajectory=usd / rate if rate else float("nan"),
        trajectories_per_hour=rate,
        systems_interval=_systems_interval(answer, system, demand, agents),
        growth=tuple(_growth(answer, system, demand)),
        price_quality=price_quality(system, demand),
    )


def trajectories_per_agent_hour(answer: Answer) -> float:
    """Trajectories that an agent finishes in an hour at the held point, from the watts there and the joules of a trajectory."""
    held = answer.held
    if held is None or held.energy is None:
        return float("nan")
    return 3600 * held.gpus * held.watts_per_gpu.accelerator / held.energy.trajectory_j.accelerator / held.agents


def price_quality(system: System, demand: Demand) -> str:
    """The worst quality among the price fields that the asked price rests on."""
    needs = [{"own": "own_usd_per_gpu_hour", "rent": "rent_usd_per_gpu_hour", "buy": "capital_usd"}[demand.price]]
    if demand.limits.capital_usd is not None:
        needs.append("capital_usd")
    site = [field.quality for field in demand.tariff.values()] if demand.price == "buy" else []
    own = [system.fields[key].quality for key in needs if key in PRICE_FIELDS and key in system.fields]
    return worst_quality([*own, *site])


def _systems_interval(answer: Answer, system: System, demand: Demand, agents: float) -> tuple[int, int]:
    ends = [instances_for(agents, count, demand.headroom_share) + demand.spare for count in reversed(answer.interval) if count]
    found = [systems_for(instances, answer.gpus, system) for instances in ends]
    return (found[0], found[-1]) if found else (0, 0)


def _growth(answer: Answer, system: System, demand: Demand) -> Iterator[tuple[int, float, Bill]]:
    if demand.agents is None or not demand.growth_years:
        return
    for year in range(demand.growth_years + 1):
        agents = demand.agents_in(year)
        instances = instances_for(agents, answer.agents_held, demand.headroom_share) + demand.spare
        yield year, agents, bill_for(instances, answer, system, demand)


def bases(power: PowerBases) -> dict[str, float]:
    """Power by basis."""
    found = asdict(power)
    return {basis: found[basis] for basis in BASES}
