"""What served a row: the deployment of its model on its system in its layout, by its engine's rules. Inputs are evidence rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from simulator.calibration.evidence import Row
from simulator.capacity.fleet import engine_pools
from simulator.catalog import names
from simulator.engine.world import Pool
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import parameters
from simulator.hardware.model_card import ModelCard
from simulator.hardware.schemas import DEPLOYMENT
from simulator.hardware.system import System

ROOFLINE = "derived from the system and the model card"
STORED = ("mxfp4", "int4")
"""Weights of rows that are those of the published checkpoint."""


class ServingKey(NamedTuple):
    """What the deployment of a row depends on."""

    system: str
    model: str
    weights: str
    engine: str
    gpus: int
    tp: int
    dp: int
    ep: int
    drafts: int


class Serving(NamedTuple):
    """A loaded deployment and its pools as the engine reads them."""

    system: System
    model: ModelCard
    deployment: Deployment
    pools: tuple[Pool, ...]


def serving_key(row: Row) -> ServingKey:
    """The key under which rows share a deployment."""
    return ServingKey(row.system, row.model, row.weights, row.engine, row.gpus, row.tp, row.dp, row.ep, row.drafts)


def lacking(row: Row) -> str:
    """Why a row cannot be predicted from what ships, such as a profile that is not there; empty when it can."""
    for kind, name in (("systems", row.system), ("models", row.model), ("engines", row.engine)):
        if name not in names(kind):
            return f"no profile of {kind[:-1]} {name}"
    if row.mode == "disagg":
        return "disaggregated"
    if row.tp > 1 and row.dp > 1:
        return "tensor and data parallel attention together"
    return "" if row.tp * row.dp == row.gpus else "several workers"


def serve(key: ServingKey) -> Serving:
    """Loads the deployment of a key.

    Raises
    ------
    UserError
        When the weights do not fit, or the layout contradicts the model.
    """
    system, model = load_system(key.system), load_model(key.model)
    deployment = load_deployment(served_as(key, system, model), system=system, model=model)
    return Serving(system, model, deployment, engine_pools(system, model, deployment))


def served_as(key: ServingKey, system: System, model: ModelCard) -> Mapping[str, Any]:
    """The deployment of a key as a mapping of fields, its law from the datasheet and the card alone."""
    ranks = key.dp
    flops = system.fp8_flops * (2 if key.weights in ("fp4", "mxfp4") else 0.5 if key.weights == "bf16" else 1)
    token_s = 2 * parameters(model).active / (0.4 * flops * (key.gpus // ranks))
    values: dict[str, Any] = {
        "engine": key.engine,
        "system": key.system,
        "model": key.model,
        "weight_type": "stored" if key.weights in STORED else key.weights,
        "kv_type": "bf16" if key.weights == "bf16" else next(kind for kind in ("packed_fp8", "fp8") if kind in model.kv_entry_bytes),
        "compute_type": "bf16" if key.weights == "bf16" else "fp8",
        "speed_floor_tok_s": 1,
        "ttft_ceiling_s": 1000,
        "workers": 1,
        "memory_share": 0.9,
        "reserve_bytes": 4e9,
        "block_tokens": 64,
        "max_seqs": 1024,
        "gpus_per_worker": key.gpus,
        "attention": "dp" if ranks > 1 else "tp",
        "ranks": ranks,
        "ep": key.gpus,
        "kv_pool_tokens": 0,
        "token_budget": 8192,
        "drafts": key.drafts,
        "router": "least_loaded",
        "max_context_tokens": min(131_072, model.max_context_tokens),
        "floor_s": model.layers * 1e-4,
        "host_s": 1e-3,
        "routing_skew": 0.8,
        "hbm_efficiency": 0.8,
        "kv_efficiency": 0.8,
        "decode_token_s": token_s,
        "prefill_token_s": token_s,
        "prefill_pair_s": token_s * 1e-6,
    }
    if model.attention.indexed:
        values["index_type"] = "fp8"
    fields = {
        name: {"value": value, "unit": DEPLOYMENT[name].unit, "source": ROOFLINE, "quality": "estimated"} for name, value in values.items()
    }
    return {"name": f"{key.system} {key.model} {key.weights} {key.engine} tp{key.tp} dp{key.dp} ep{key.ep}", **fields}
