"""What the page's lists offer: the deployments that ship and fit, by system, and the trajectory sets. Inputs are the shipped profiles."""

from dataclasses import dataclass
from functools import cache

from simulator.catalog import names
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_system
from simulator.workload.load import load_trajectories


@dataclass(frozen=True)
class Choice:
    """One deployment of a list, under its system."""

    name: str
    title: str
    system: str
    system_title: str
    gpus: int


@cache
def deployments() -> dict[str, Choice]:
    """Every shipped deployment whose model fits its system, by name; systems in the order of their titles."""
    found = []
    for name in names("deployments"):
        try:
            deployment = load_deployment(name)
        except UserError:
            continue
        system = load_system(deployment.system)
        found.append(Choice(name, deployment.title, system.name, system.title, deployment.gpus))
    return {choice.name: choice for choice in sorted(found, key=lambda c: (c.system_title, c.name))}


@cache
def loads() -> dict[str, str]:
    """Shipped trajectory sets: name -> what to show."""
    return {name: f"{name} ({len(load_trajectories(name).trajectories)} trajectories)" for name in names("trajectories")}
