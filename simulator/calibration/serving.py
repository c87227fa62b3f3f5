"""What served a row: the deployment of its model on its system in its layout, by its engine's rules. Inputs are evidence rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from simulator.calibration.evidence import Row
from simulator.capacity.fleet import engine_pools
from simulator.catalog import names
from simulator.engine.world import Pool
from simulator.hardware.deployment import Deployment
from simulator.hardware.derive import operator_law
from simulator.hardware.efficiency import efficiency_of
from simulator.hardware.load import load_deployment, load_engine, load_model, load_system
from simulator.hardware.model_card import ModelCard
from simulator.hardware.roofline import Layout, compute_type_of
from simulator.hardware.schemas import DEPLOYMENT
from simulator.hardware.served import served_over
from simulator.hardware.system import System
from simulator.hardware.weights import weight_bits
from simulator.units import whole_number

ROW = "the measured row, and what docs/validation.md assumes of all of them"
STORED = ("mxfp4", "int4")
"""Weights of rows that are those of the published checkpoint."""

BUDGET = 8192
"""Tokens of a step that an engine is told to take; whether ranks of attention-DP share them is its preset's to say."""

SEATS = 1024
"""Calls that a rank runs at once where the row does not tell."""

PUBLISHED = {("gb200_nvl72", "deepseek_v4_pro", "vllm", 1, 8): "gb200_nvl72_v4pro_20tps_pd"}
"""System, model, engine and shards of a decode worker -> the shipped deployment of prefill workers and one decode worker of that layout."""


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
    osl: int
    prefill: str
    seats: int


class Serving(NamedTuple):
    """A loaded deployment, its pools as the engine reads them, the seconds of a call before the scheduler sees it, and whether its law is
    that of operator tables."""

    system: System
    model: ModelCard
    deployment: Deployment
    pools: tuple[Pool, ...]
    request_s: float
    on_tables: bool = False


def serving_key(row: Row) -> ServingKey:
    """The key under which rows share a deployment."""
    layout = (row.gpus, row.tp, row.dp, row.ep)
    return ServingKey(row.system, row.model, row.weights, row.engine, *layout, row.drafts, row.osl, row.prefill, row.seats)


def lacking(row: Row) -> str:
    """Why a row cannot be predicted from what ships, such as a profile that is not there; empty when it can."""
    for kind, name in (("systems", row.system), ("models", row.model), ("engines", row.engine)):
        if name not in names(kind):
            return f"no profile of {kind[:-1]} {name}"
    if row.mode == "disagg":
        return "" if _published(serving_key(row)) else "disaggregated"
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
    if key.prefill:
        published = load_deployment(_published(key), system=system, model=model)
        return Serving(system, model, published, engine_pools(system, model, published), 0.0)
    deployment = load_deployment(served_as(key, system, model), system=system, model=model)
    on_tables = bool(operator_law(system, model, _layout(key, system, model), key.engine, _weight_type(key)))
    over = served_over(key.engine, model.name) if on_tables else None
    fitted = efficiency_of(system.name, key.engine, model.name, weight_bits(model, _weight_type(key))).efficiency
    return Serving(system, model, deployment, engine_pools(system, model, deployment), (over or fitted).request_s, on_tables)


def _published(key: ServingKey) -> Mapping[str, Any]:
    """The shipped deployment of a disaggregated row, with the row's prefill workers; empty when none ships in its shape.

    Rows of other shapes are left out: many of them decode with drafts that no column marks, and most do not tell their workers.
    """
    name = PUBLISHED.get((key.system, key.model, key.engine, key.tp, key.dp), "")
    workers, _, layout = key.prefill.partition("x")
    count = whole_number(workers)
    if not name or count is None or layout != f"1/{key.dp}/{key.ep}" or key.gpus != (count + 1) * key.dp:
        return {}
    pools = {"prefill": {"workers": count}}
    return {"extends": name, "drafts": key.drafts, "max_new_tokens": key.osl, "router": "least_loaded", "pools": pools}


def served_as(key: ServingKey, system: System, model: ModelCard) -> Mapping[str, Any]:
    """The deployment of a key as a mapping of fields; its law is left to be derived, as for any pair (`derive.py`)."""
    layout = _layout(key, system, model)
    values: dict[str, Any] = {
        "engine": key.engine,
        "system": key.system,
        "model": key.model,
        "weight_type": _weight_type(key),
        "kv_type": "bf16" if key.weights == "bf16" else next(kind for kind in ("packed_fp8", "fp8") if kind in model.kv_entry_bytes),
        "compute_type": layout.compute_type,
        "speed_floor_tok_s": 1,
        "ttft_ceiling_s": 1000,
        "workers": 1,
        "memory_share": 0.9,
        "reserve_bytes": 4e9,
        "block_tokens": 64,
        "max_seqs": max(1, key.seats // key.dp) if key.seats else SEATS,
        "gpus_per_worker": key.gpus,
        "attention": layout.attention,
        "ranks": key.dp,
        "ep": key.gpus,
        "kv_pool_tokens": 0,
        "token_budget": load_engine(key.engine).budget_of_rank(BUDGET, key.dp),
        "drafts": key.drafts,
        "max_new_tokens": key.osl,
        "router": "least_loaded",
        "max_context_tokens": min(131_072, model.max_context_tokens),
    }
    if model.attention.indexed:
        values["index_type"] = "fp8"
    fields = {
        name: {
            "value": value,
            "unit": DEPLOYMENT[name].unit,
            "source": ROW,
            "quality": "assumed",
        }
        for name, value in values.items()
    }
    return {"name": f"{key.system} {key.model} {key.weights} {key.engine} tp{key.tp} dp{key.dp} ep{key.ep}", **fields}


def _layout(key: ServingKey, system: System, model: ModelCard) -> Layout:
    return Layout("dp" if key.dp > 1 else "tp", key.gpus, compute_type_of(system, model, _weight_type(key)))


def _weight_type(key: ServingKey) -> str:
    return "stored" if key.weights in STORED else key.weights
