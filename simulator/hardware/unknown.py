"""The system and the model that nobody named: what a measured endpoint runs on and serves when only its times are known.

A deployment may say ``system: unknown`` or ``model: unknown`` if it gives its law, its KV pool and its layout itself, as a calibration
writes them. No number stands in for what is not known: every figure of these two is nan, and watts are unknown with them.
"""

import math
from dataclasses import fields
from typing import Any

from simulator.hardware.attention_grouped import GroupedAttention
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System

UNKNOWN = "unknown"

DECLARED = {"compute_type": UNKNOWN, "kv_type": UNKNOWN}
"""What stands in a deployment on something unknown for fields that only bytes and FLOPs ask for."""


def unknown_system() -> System:
    """One accelerator of which nothing is known: an endpoint counts as one."""
    numbers = {field.name: math.nan for field in fields(System) if field.type is float}
    return System(**numbers, name=UNKNOWN, title="an unknown system", gpus=1, quality="datasheet", notes=(), fields={})


def unknown_model() -> ModelCard:
    """A model of which nothing is known; its counts are 0, and nothing multiplies them."""
    numbers = {field.name: math.nan if field.type is float else 0 for field in fields(ModelCard) if field.type in (float, int)}
    words = {"name": UNKNOWN, "title": "an unknown model", "quality": "datasheet"}
    none: dict[str, Any] = {"kv_entry_bytes": {}, "index_entry_bytes": {}, "accept_means": (), "notes": (), "fields": {}}
    return ModelCard(**numbers, **words, **none, attention=GroupedAttention(0, 0, 0, 1, 0))  # type: ignore[arg-type]


def known(system: System, model: ModelCard) -> bool:
    """Whether bytes, FLOPs and watts can be reckoned with."""
    return UNKNOWN not in (system.name, model.name)
