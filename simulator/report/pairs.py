"""Table of pairs: the worker derived for every model on every system, or how many GPUs it would need. Inputs are loaded profiles."""

from collections.abc import Sequence

from simulator.errors import UserError
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System
from simulator.report.phrases import plain
from simulator.report.tables import Sheet

NOTE = (
    "TP: tensor parallelism; DEP: attention-DP with experts spread; then the KV tokens of a worker. A dash: no worker of the system holds "
    "the model as it is served by default (BF16 checkpoints in FP8, others as stored)."
)


def pairs_sheet(systems: Sequence[System], models: Sequence[ModelCard]) -> Sheet:
    """A row per model, a column per system."""
    rows = tuple((plain(model.name), *(_cell(system, model) for system in systems)) for model in models)
    return Sheet("Derived workers", ("model", *(plain(system.name) for system in systems)), rows, "l" * (1 + len(systems)), NOTE)


def _cell(system: System, model: ModelCard) -> str:
    try:
        return layout_words(load_deployment({}, system=system, model=model))
    except UserError:
        return "-"


def layout_words(deployment: Deployment) -> str:
    """The layout of a deployment of one pool, and its KV pool."""
    (pool,) = deployment.pools
    kind = "DEP" if pool.attention == "dp" else "TP"
    tokens = pool.blocks_per_rank * deployment.block_tokens * pool.ranks
    return f"{kind}{pool.gpus_per_worker}, {tokens / 1e6:.1f}M"
