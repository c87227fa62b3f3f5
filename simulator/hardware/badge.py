"""A word for what an answer stands on: its step-time and power laws and its KV pool. Inputs are a system and a deployment on it."""

from collections.abc import Iterator
from typing import NamedTuple

from simulator.hardware.deployment import Deployment
from simulator.hardware.quality import Field
from simulator.hardware.schemas import OWN_BY_POOL
from simulator.hardware.spread import direction, key_of
from simulator.hardware.system import System

CALIBRATED, FITTED, ESTIMATED = "calibrated", "fitted", "estimated"
BADGES = (CALIBRATED, FITTED, ESTIMATED)
"""From best to worst."""

CALIBRATION = "calibration of "
"""How the source of a coefficient begins that a calibration wrote; the name of the system whose live endpoint was measured follows."""

ARITHMETIC = ("memory_share", "reserve_bytes", "kv_pool_share")
MEMORY = (*ARITHMETIC, "kv_pool_tokens")


class Badge(NamedTuple):
    """``calibrated``, ``fitted`` or ``estimated``, and the fields that keep it from being ``fitted`` or better throughout."""

    word: str
    because: tuple[str, ...]


NO_BADGE = Badge("", ())


def badge(system: System, deployment: Deployment) -> Badge:
    """The badge of a deployment (docs/uncertainty.md).

    ``calibrated`` when every step-time coefficient comes from a calibration of this very system, ``fitted`` when all fields that matter are
    fitted, measured or printed, ``estimated`` when some is not.
    """
    fields = list(_that_matter(system, deployment))
    weak = tuple(field.name for field in fields if field.quality in ("estimated", "assumed"))
    law = [field for field in fields if field.name in deployment.fields and key_of(field) not in MEMORY]
    source = CALIBRATION + system.name
    if law and all(field.source == source or field.source.startswith((source + " ", source + ",", source + ":")) for field in law):
        return Badge(CALIBRATED, weak)
    return Badge(ESTIMATED if weak else FITTED, weak)


def _that_matter(system: System, deployment: Deployment) -> Iterator[Field]:
    """Step-time coefficients and the KV pool of the deployment, the power law of the system."""
    kinds = {pool.pool_kind for pool in deployment.pools}
    for field in deployment.fields.values():
        key = key_of(field)
        unused = (key in ARITHMETIC and "computed" not in kinds) or (key == "kv_pool_tokens" and not field.value)
        if key in OWN_BY_POOL and direction(field) and not unused:
            yield field
    for name, field in system.fields.items():
        if name.startswith("power_") or name == "idle_w":
            yield field
