"""A measured power row, and how busy it kept memory and arithmetic. Inputs are `power.csv` and `power_models.csv` of the evidence.

The utilisations are averages over a step, by model arithmetic: bytes of weights (under expert coverage) and of the KV cache, two FLOPs per
active parameter and token. docs/power.md says what is left out.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.catalog import folder
from simulator.hardware.system import System

ROUTING_SKEW = 0.8
"""Share of the tokens that choose experts as if at random (docs/laws.md)."""

WEIGHT_BYTES = {"bf16": (2.0, 2.0), "fp8": (1.0, 1.0), "fp4": (0.53125, 2.0), "fp4_fp8": (0.53125, 1.0)}
"""Bytes per parameter of the experts and of the rest, by precision; FP4 with its scales."""


@dataclass(frozen=True)
class PowerRow:
    """One operating point whose watts per GPU were measured.

    ``batch`` sequences decode on ``gpus`` GPUs behind ``context_tokens`` each, a step takes ``itl_ms``, and ``prefill_per_output`` prompt
    tokens are computed per output token (0 where unknown). ``output_tok_s`` is that of all GPUs, 0 where unknown.
    """

    id: str
    system: str
    model: str
    precision: str
    gpus: int
    layout: str
    batch: float
    context_tokens: float
    itl_ms: float
    prefill_per_output: float
    output_tok_s: float
    watts_per_gpu: float
    source: str
    date: str
    split: str


@dataclass(frozen=True)
class PowerModel:
    """What the utilisations need of a model. Parameters in 1e9, KV bytes in BF16; ``kv_replicated`` when every GPU reads all of it."""

    model: str
    params_b: float
    expert_b: float
    experts: int
    experts_per_token: int
    active_b: float
    kv_bytes_per_token: float
    window_kv_bytes_per_token: float
    window_tokens: int
    kv_replicated: int
    source: str

    def read_bytes(self, row: PowerRow) -> float:
        """HBM bytes that each GPU reads in a step of a row."""
        stored, rest = WEIGHT_BYTES[row.precision]
        coverage = 1 - (1 - self.experts_per_token / self.experts) ** (ROUTING_SKEW * row.batch) if self.experts else 0.0
        weights = 1e9 * (self.expert_b * stored * coverage + (self.params_b - self.expert_b) * rest)
        kv = self.kv_bytes_per_token * row.context_tokens
        kv += self.window_kv_bytes_per_token * min(row.context_tokens, self.window_tokens)
        return weights / row.gpus + row.batch * kv / (1 if self.kv_replicated else row.gpus)

    def flops(self, row: PowerRow) -> float:
        """FLOPs that each GPU does in a step of a row."""
        return 2e9 * self.active_b * row.batch * (1 + row.prefill_per_output) / row.gpus


def utilisation(row: PowerRow, system: System, models: Mapping[str, PowerModel]) -> tuple[float, float]:
    """Achieved shares of peak HBM bandwidth and of peak dense FLOP/s: that of FP8 where the dense weights are FP8, else of BF16."""
    model, step_s = models[row.model], row.itl_ms / 1000
    peak = system.flops("fp8" if WEIGHT_BYTES[row.precision][1] == 1 else "bf16")
    return model.read_bytes(row) / (system.hbm_bytes_per_s * step_s), model.flops(row) / (peak * step_s)


def power_rows(path: Path | None = None) -> tuple[PowerRow, ...]:
    """The shipped rows, or those of another file of the same columns."""
    return tuple(PowerRow(**_values(record, PowerRow)) for record in _records(path or folder("evidence") / "power.csv"))


def power_models() -> dict[str, PowerModel]:
    """The shipped model figures, by name."""
    records = _records(folder("evidence") / "power_models.csv")
    return {record["model"]: PowerModel(**_values(record, PowerModel)) for record in records}


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _values(record: Mapping[str, str], kind: type) -> dict[str, Any]:
    """The cells as the fields of a dataclass; an empty number is 0."""
    types = kind.__annotations__
    return {key: types[key](text or 0) if types[key] is not str else text for key, text in record.items()}
