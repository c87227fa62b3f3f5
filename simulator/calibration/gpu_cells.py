"""A cell: one thing to measure on a GPU, with the FLOPs and bytes it cannot do without. Inputs are sizes that `gpu_plan.py` draws up.

A cell's id is made of what it is, so that a file of measurements can be resumed, joined with another or fitted years later.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TYPE_BYTES = {"bf16": 2, "fp8": 1}
"""Bytes of one value of an operand; results are BF16."""

OUT_BYTES = 2

COLD_BYTES = 512e6
"""Operands that a serving step reads from HBM are held in as many copies as make up this much, several times any L2 cache of today."""

KINDS = ("idle", "launch", "copy", "host", "gemm", "experts", "decode", "prefill", "duty")


@dataclass(frozen=True)
class Entry:
    """What one layer's KV cache holds of a token: keys and values of ``kv_heads`` heads; ``shared``: values are the first part of keys."""

    kv_heads: int
    key: int
    value: int
    shared: bool = False

    @property
    def values(self) -> int:
        """Numbers in an entry."""
        return self.kv_heads * (self.key if self.shared else self.key + self.value)

    def size(self) -> dict[str, int]:
        """The entry as part of a cell's size."""
        return {"kv_heads": self.kv_heads, "key": self.key, "value": self.value, "shared": int(self.shared)}


@dataclass(frozen=True)
class Cell:
    """One point of the plan.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    part : str
        What of the kind: a weight matrix, a form of attention, a direction.
    model : str
        Name of the model card that the sizes come from; empty where none does.
    dtype : str
        ``bf16`` or ``fp8``: type of the operands.
    size : mapping of str to int
    flops, bytes : float
        Of one call: multiplies and adds, and the bytes that any implementation must read and write.
    memory_bytes : float
        What has to be allocated to measure it.
    """

    kind: str
    part: str
    model: str
    dtype: str
    size: Mapping[str, int]
    flops: float
    bytes: float
    memory_bytes: float

    @property
    def id(self) -> str:
        """What the cell is, in one word."""
        return "/".join(filter(None, (self.kind, self.part, self.model, self.dtype, size_text(self.size).replace(" ", "/"))))


def size_text(size: Mapping[str, int]) -> str:
    """``tokens=64 k=7168``: how sizes stand in a file."""
    return " ".join(f"{name}={value}" for name, value in size.items())


def parse_size(text: str) -> dict[str, int]:
    """The sizes in such a text. Raises `ValueError` when it is none."""
    pairs = (word.split("=") for word in text.split())
    return {name: int(value) for name, value in pairs}


def copies(weight_bytes: float) -> int:
    """How many copies of a weight are taken in turn, so that none is still in the cache when its turn comes again."""
    return max(1, -int(-COLD_BYTES // weight_bytes))


def gemm(part: str, model: str, dtype: str, *, tokens: int, k: int, n: int) -> Cell:
    """``tokens x k`` by a weight of ``k x n``."""
    width = TYPE_BYTES[dtype]
    weight, inputs, outputs = width * k * n, width * tokens * k, OUT_BYTES * tokens * n
    size = {"tokens": tokens, "k": k, "n": n}
    memory = weight * copies(weight) + inputs + 2 * outputs
    return Cell("gemm", part, model, dtype, size, 2.0 * tokens * k * n, weight + inputs + outputs, memory)


def experts(model: str, *, chosen: int, of: int, rows: int, k: int, n: int) -> Cell:
    """A grouped GEMM: ``rows`` tokens for each of ``chosen`` experts among ``of``, in BF16."""
    width = TYPE_BYTES["bf16"]
    weight, inputs, outputs = width * chosen * k * n, width * chosen * rows * k, OUT_BYTES * chosen * rows * n
    size = {"chosen": chosen, "of": of, "rows": rows, "k": k, "n": n}
    memory = weight * min(copies(weight), of // chosen) + inputs + 2 * outputs
    return Cell("experts", "gate_up", model, "bf16", size, 2.0 * chosen * rows * k * n, weight + inputs + outputs, memory)


def decode(part: str, model: str, *, batch: int, context: int, held: int, heads: int, entry: Entry) -> Cell:
    """Attention of one new token in each of ``batch`` sequences over ``context`` KV entries each, out of ``held`` that lie in pages."""
    size = {"batch": batch, "context": context, "held": held, "heads": heads, **entry.size()}
    width, values = TYPE_BYTES["bf16"], entry.key + entry.value
    read, queries = width * batch * context * entry.values, width * batch * heads * values
    memory = width * batch * (held + context) * entry.values + queries + 4.0 * batch * heads * context
    return Cell("decode", part, model, "bf16", size, 2.0 * batch * heads * context * values, read + queries, memory)


def prefill(part: str, model: str, *, chunk: int, prefix: int, heads: int, entry: Entry) -> Cell:
    """Attention of a chunk of a prompt over ``prefix`` earlier tokens and, causally, over itself."""
    size = {"chunk": chunk, "prefix": prefix, "heads": heads, **entry.size()}
    values = entry.key + entry.value
    flops = 2.0 * heads * values * chunk * (prefix + chunk / 2)
    moved = TYPE_BYTES["bf16"] * (chunk * heads * values + (prefix + chunk) * entry.values)
    return Cell("prefill", part, model, "bf16", size, flops, moved, 3.0 * moved)


def copy(megabytes: int) -> Cell:
    """A copy within HBM: every byte is read and written."""
    moved = 2e6 * megabytes
    return Cell("copy", "hbm", "", "bf16", {"megabytes": megabytes}, 0.0, moved, moved)


def host(direction: str, megabytes: int) -> Cell:
    """A copy between pinned host memory and the GPU, ``to_gpu`` or ``from_gpu``."""
    return Cell("host", direction, "", "bf16", {"megabytes": megabytes}, 0.0, 1e6 * megabytes, 1e6 * megabytes)


def duty(cell: Cell, percent: int) -> Cell:
    """Another cell's work with pauses between, so that the GPU is busy for ``percent`` of the time, as behind a slow host."""
    size = {"busy_percent": percent, **cell.size}
    return Cell("duty", cell.part, cell.model, cell.dtype, size, cell.flops, cell.bytes, cell.memory_bytes)


def still(kind: str, part: str, memory_bytes: float = 0.0) -> Cell:
    """A cell without work of its own: idling, or launching kernels that do nothing."""
    return Cell(kind, part, "", "bf16", {}, 0.0, 0.0, memory_bytes)
