"""Step times sampled from aiconfigurator's operator tables: decode steps by batch and context, prefill chunks by length and prefix.

Inputs are a model card, a system and the tables; cells that the GPUs' memory could never hold are not asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from simulator.hardware.memory import kv_bytes, kv_share, weight_bytes_per_gpu
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (1_024, 4_096, 8_192, 32_768, 65_536, 131_072)
CHUNKS = (256, 1_024, 2_048, 4_096, 8_192, 16_384)
PREFIXES = (0, 4_096, 32_768, 98_304)

HELD_BACK = 3
"""One cell in so many is kept out of the fit, spread over all rows and columns of the grid."""


@dataclass(frozen=True)
class Cell:
    """A step in which every rank does the same.

    Attributes
    ----------
    phase : str
        ``decode``: ``batch`` sequences per rank behind ``context`` tokens each; ``prefill``: ``chunk`` tokens behind ``context``;
        ``experts``: the part of a prefill chunk that is its routed experts' arithmetic, sampled where ranks share it.
    fitted : bool
        Whether the fit may see it.
    """

    phase: str
    batch: int
    chunk: int
    context: int
    seconds: float
    fitted: bool


class Tables(Protocol):
    """What is sampled: `aic.OperatorTables`, or a test's own law."""

    def decode_s(self, batch: int, context_tokens: int) -> float:
        """One decode step."""
        ...

    def prefill_s(self, chunk_tokens: int, prefix_tokens: int = 0) -> float:
        """One prefill chunk."""
        ...

    def experts_s(self, chunk_tokens: int) -> float:
        """The routed experts' part of a prefill chunk."""
        ...


@dataclass(frozen=True)
class Worker:
    """What a step's bytes depend on: the layout of a worker and how weights and KV are stored.

    ``attention`` is ``tp`` (one rank over all GPUs) or ``dp`` (a rank on every GPU); experts are spread over all GPUs.
    """

    system: System
    model: ModelCard
    attention: str
    gpus: int
    weight_type: str
    kv_type: str
    index_type: str

    @property
    def tp(self) -> int:
        """GPUs that share one rank."""
        return self.gpus if self.attention == "tp" else 1

    @property
    def ranks(self) -> int:
        """Attention shards."""
        return self.gpus // self.tp

    def holds(self, batch: int, tokens: int) -> bool:
        """Whether a GPU's memory has room for the weights and the KV of such sequences."""
        weights = weight_bytes_per_gpu(self.model, ep=self.gpus, tp=self.tp, weight_type=self.weight_type)
        kv = batch * kv_bytes(self.model, self.kv_type, self.index_type, tokens) * kv_share(self.model, self.tp)
        return weights + kv <= self.system.hbm_bytes


def sample(worker: Worker, tables: Tables) -> tuple[list[Cell], list[str]]:
    """The cells that the tables know, and why others are missing."""
    found, missing = [], []
    for phase, batch, chunk, context, fitted in grid(worker):
        try:
            seconds = _asked(tables, phase, batch, chunk, context)
        except Exception as error:  # the SDK raises whatever the missing table meets
            missing.append(f"{phase} {batch or chunk} behind {context}: {type(error).__name__}: {error}")
            continue
        found.append(Cell(phase, batch, chunk, context, seconds, fitted))
    return found, missing


def _asked(tables: Tables, phase: str, batch: int, chunk: int, context: int) -> float:
    if phase == "decode":
        return tables.decode_s(batch, context)
    return tables.prefill_s(chunk, context) if phase == "prefill" else tables.experts_s(chunk)


def grid(worker: Worker) -> Iterator[tuple[str, int, int, int, bool]]:
    """Phase, batch, chunk, context and whether it is for the fit, of the cells that fit memory and the model's context."""
    longest = worker.model.max_context_tokens
    for i, batch in enumerate(BATCHES):
        for j, context in enumerate(CONTEXTS):
            if context < longest and worker.holds(batch, context):
                yield "decode", batch, 0, context, (i + j) % HELD_BACK > 0
    for i, chunk in enumerate(CHUNKS):
        for j, prefix in enumerate(PREFIXES):
            if prefix + chunk <= longest and worker.holds(1, prefix + chunk):
                yield "prefill", 0, chunk, prefix, (i + j) % HELD_BACK > 0
    if worker.ranks > 1 and not worker.model.dense:
        for i, chunk in enumerate(CHUNKS):
            yield "experts", 0, chunk, 0, i % HELD_BACK > 0
