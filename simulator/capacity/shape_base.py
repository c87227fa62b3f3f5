"""What a shape makes of a base deployment: a mapping that changes sizes and layouts and keeps engine, options, budgets and coefficients.

Inputs are the base as a scenario gives it, and a shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.capacity.shape_space import PoolShape, Shape
from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.load import load_deployment
from simulator.hardware.model_card import ModelCard
from simulator.hardware.quality import Field
from simulator.hardware.schemas import POOL
from simulator.hardware.system import System

Ref = str | Mapping[str, Any]

SIZES = ("role", "workers", "gpus_per_worker", "attention", "ranks", "ep", "max_seqs", "token_budget")
"""What a shape sets in each pool."""
COMPUTE = ("decode_token_s", "prefill_token_s", "prefill_pair_s")
"""Coefficients of a rank's own compute, which the GPUs of the rank share."""
CARRIED = (
    "memory_share", "reserve_bytes", "kv_pool_share", "kv_pool_tokens", "host_tier_bytes", "floor_s", "host_s", "routing_skew",
    "hbm_efficiency", "kv_efficiency", *COMPUTE,
)  # fmt: skip
"""What a pool takes from one of another role: memory and coefficients, but no option of scheduling."""


@dataclass(frozen=True)
class Base:
    """A base deployment, and how shapes are derived from it.

    Attributes
    ----------
    ref : str or mapping
        As the scenario gives it.
    deployment : Deployment
    system : System
    inherited : frozenset of str
        Pools of the profile that ``ref`` names or extends; a shape must strike them out where it has others.
    pool_share : mapping of pool name to float
        Measured KV pool over the arithmetic one, for pools whose KV memory is measured: it was so for that layout only.
    """

    ref: Ref
    deployment: Deployment
    system: System
    inherited: frozenset[str]
    pool_share: Mapping[str, float]

    def template(self, role: str) -> WorkerPool:
        """The pool after which one of this role is made: the first of the role, else a mixed one, else that which decodes."""
        found = self.deployment.pools_of(role) or self.deployment.pools_of("mixed") or self.deployment.pools_of("decode")
        return found[0]

    def shape(self) -> Shape | None:
        """The base itself as a shape; None when it has several pools of a role, or both mixed and other ones."""
        pools = sorted(self.deployment.pools, key=lambda pool: pool.role == "decode")
        roles = [pool.role for pool in pools]
        if roles not in (["mixed"], ["prefill", "decode"]):
            return None
        return Shape(tuple(PoolShape(p.role, p.workers, p.gpus_per_worker, p.attention, p.max_seqs, p.token_budget) for p in pools))

    def mapping(self, shape: Shape) -> dict[str, Any]:
        """The deployment of a shape, as a scenario may give it."""
        start = dict(self.ref) if isinstance(self.ref, Mapping) else {"extends": self.ref}
        names = {pool.role for pool in shape.pools}
        pools: dict[str, Any] = dict.fromkeys(sorted(self.inherited - names))
        found: dict[str, Any] = start | {"name": str(shape), "title": f"{shape}, after {self.deployment.name}"}
        found["pools"] = pools | {pool.role: self._fields(pool) for pool in shape.pools}
        if len(shape.pools) > 1 and shape.gpus > self.system.gpus:
            found["kv_link"] = _field("kv_link", "scale_out", "more GPUs than the scale-up domain has", POOL_UNIT_OF_WORDS)
        return found

    def _fields(self, shape: PoolShape) -> dict[str, Any]:
        """The fields of one pool: its template's own, then what the shape sets, then what follows from that."""
        template = self.template(shape.role)
        place = f"pools.{template.name}."
        own = {name.removeprefix(place): field for name, field in self.deployment.fields.items() if name.startswith(place)}
        fields = {key: _whole(field) for key, field in own.items() if template.role == shape.role or key in CARRIED}
        values = (shape.role, shape.workers, shape.gpus_per_worker, shape.attention, shape.ranks, shape.gpus_per_worker)
        sizes = dict(zip(SIZES, (*values, shape.max_seqs, shape.token_budget), strict=True))
        fields |= {key: _field(key, value, "shape search", POOL[key].unit) for key, value in sizes.items()}
        return fields | self._following(template, shape)

    def _following(self, template: WorkerPool, shape: PoolShape) -> dict[str, Any]:
        """Coefficients by the GPUs of a rank, and the KV pool where the template's was measured for another layout."""
        fields: dict[str, Any] = {}
        factor = shape.gpus_per_worker / shape.ranks / template.gpus_per_rank
        if factor != 1:
            source = f"that of {template.gpus_per_rank} GPUs a rank, shared by {shape.gpus_per_worker // shape.ranks}"
            fields |= {key: _field(key, getattr(template.law, key) / factor, source, POOL[key].unit) for key in COMPUTE}
        same = (shape.gpus_per_worker, shape.attention) == (template.gpus_per_worker, template.attention)
        if template.name in self.pool_share and not same:
            source = "measured over arithmetic KV pool of the base's layout"
            share = min(1.0, self.pool_share[template.name])
            fields |= {"kv_pool_tokens": _field("kv_pool_tokens", 0, source, POOL["kv_pool_tokens"].unit)}
            fields |= {"kv_pool_share": _field("kv_pool_share", share, source, POOL["kv_pool_share"].unit)}
        return fields


POOL_UNIT_OF_WORDS = POOL["role"].unit


def base_of(ref: Ref, deployment: Deployment, system: System, model: ModelCard) -> Base:
    """The base of a search.

    Parameters
    ----------
    ref : str or mapping
        As the scenario gives the deployment.
    deployment : Deployment
        What it loads to, on this system and model.
    """
    named = {name.split(".")[1] for name in deployment.fields if name.startswith("pools.")}
    if isinstance(ref, Mapping):
        parent = load_deployment(ref["extends"], system=system, model=model) if "extends" in ref else None
        named = {name.split(".")[1] for name in parent.fields if name.startswith("pools.")} if parent else set()
    measured = [pool for pool in deployment.pools if pool.pool_kind == "measured"]
    shares = {pool.name: _pool_share(ref, deployment, pool, system, model) for pool in measured}
    return Base(ref, deployment, system, frozenset(named), shares)


def _pool_share(ref: Ref, deployment: Deployment, pool: WorkerPool, system: System, model: ModelCard) -> float:
    """A measured KV pool over what memory arithmetic gives the same layout."""
    computed: dict[str, Any] = {"kv_pool_tokens": 0, "kv_pool_share": 1.0}
    in_pools = any(name.startswith("pools.") for name in deployment.fields)
    changes = {"pools": {pool.name: computed}} if in_pools else computed
    arithmetic = load_deployment(ref, changes, system=system, model=model)
    same = next(p for p in arithmetic.pools if p.name == pool.name)
    return pool.blocks_per_rank / same.blocks_per_rank


def _whole(field: Field) -> dict[str, Any]:
    """A field as its author would write it."""
    value = list(field.value) if isinstance(field.value, tuple) else field.value
    return {"value": value, "unit": field.unit, "source": field.source, "quality": field.quality}


def _field(key: str, value: object, source: str, unit: str) -> dict[str, Any]:
    quality = "estimated" if key in COMPUTE or key.startswith("kv_pool") else "assumed"
    return {"value": value, "unit": unit, "source": source, "quality": quality}
