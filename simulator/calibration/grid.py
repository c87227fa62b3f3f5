"""Rows of measured step times: a worker decodes a batch or prefills a chunk. They come from `hardware_profiles/evidence/operators.csv`."""

import csv
from dataclasses import dataclass
from typing import Any

from simulator.catalog import folder


@dataclass(frozen=True)
class StepRow:
    """One step of a worker in which all ranks do the same.

    Attributes
    ----------
    phase : str
        ``decode`` or ``prefill``.
    gpus, attention : int, str
        The worker that was measured; 0 and empty where the source does not say.
    batch, context : int
        Decoding sequences of a rank, and tokens behind each.
    chunk, prefix : int
        Prefill tokens of a rank, and computed tokens before them.
    """

    id: str
    system: str
    model: str
    phase: str
    gpus: int
    attention: str
    batch: int
    context: int
    chunk: int
    prefix: int
    ms: float
    source: str
    split: str


COUNTS = ("gpus", "batch", "context", "chunk", "prefix")


def step_rows() -> tuple[StepRow, ...]:
    """All rows that ship."""
    with (folder("evidence") / "operators.csv").open(newline="", encoding="utf-8") as file:
        return tuple(_row(record) for record in csv.DictReader(file))


def _row(record: dict[str, str]) -> StepRow:
    values: dict[str, Any] = {**record, **{key: int(record[key] or 0) for key in COUNTS}, "ms": float(record["ms"])}
    return StepRow(**values)
