"""What runs in a cell: PyTorch operands and calls made of a cell's sizes. Operands are random, since a GPU draws less power on zeros.

Where PyTorch lacks a kernel on a device, a slower way takes its place, and the name of the way is kept with the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit
from torch import Tensor

from simulator.calibration.gpu_cells import OUT_BYTES, TYPE_BYTES, Cell, copies

PAGE_TOKENS = 256
"""Tokens of a KV page: what the paged kernel of PyTorch takes on every GPU."""

FP8_CAPABILITY = (8, 9)
"""The first compute capability with FP8 matrix units."""

Call = Callable[[int], Any]


class UnsupportedError(Exception):
    """The device or this PyTorch cannot run the cell."""


@dataclass(frozen=True)
class Kernel:
    """``call(i)`` works on operand set ``i % turns``; ``how`` names the way, ``moved_bytes`` is what it reads and writes.

    ``note`` says which better ways did not run, and why.
    """

    call: Call
    turns: int
    how: str
    moved_bytes: float
    capture: bool = True
    note: str = ""


def build(cell: Cell, device: str) -> Kernel:
    """Operands and call of a cell, tried once.

    Raises
    ------
    UnsupportedError
        When it cannot run here, and why.
    """
    builders = {
        "idle": _idle, "launch": _launch, "copy": _copy, "host": _host, "gemm": _gemm, "duty": _gemm, "experts": _experts,
        "decode": _shared_decode if cell.size.get("shared") else _decode, "prefill": _prefill,
    }  # fmt: skip
    return builders[cell.kind](cell, device)


def _random(*shape: int, device: str, dtype: str = "bf16") -> Tensor:
    values = torch.randn(*shape, device=device, dtype=torch.bfloat16)
    return values.to(torch.float8_e4m3fn) if dtype == "fp8" else values


def _idle(cell: Cell, device: str) -> Kernel:
    """A context, and memory where the cell asks for it: all of it, or as much as leaves a third of what is free."""
    room = cell.memory_bytes if device == "cpu" else min(cell.memory_bytes, torch.cuda.mem_get_info(device)[0] * 2 / 3)
    held = _random(int(room // OUT_BYTES), device=device) if room else torch.zeros(1, device=device)
    return Kernel(lambda i: held, 1, f"no work, {room / 1e9:.1f} GB held", 0.0, capture=False)


def _launch(cell: Cell, device: str) -> Kernel:
    one = torch.zeros(1, device=device)
    return Kernel(lambda i: one.add_(1), 1, "add to one number", 0.0, capture=cell.part == "graph")


def _copy(cell: Cell, device: str) -> Kernel:
    source = _random(cell.size["megabytes"] * 500_000, device=device)
    target = torch.empty_like(source)
    return Kernel(lambda i: target.copy_(source), 1, "copy_", cell.bytes)


def _host(cell: Cell, device: str) -> Kernel:
    pinned = device != "cpu"
    outside = torch.empty(cell.size["megabytes"] * 500_000, dtype=torch.bfloat16, pin_memory=pinned).normal_()
    inside = outside.to(device)
    source, target = (outside, inside) if cell.part == "to_gpu" else (inside, outside)
    return Kernel(lambda i: target.copy_(source, non_blocking=True), 1, "copy_, pinned", cell.bytes, capture=False)


def _gemm(cell: Cell, device: str) -> Kernel:
    tokens, k, n = (cell.size[name] for name in ("tokens", "k", "n"))
    turns = copies(TYPE_BYTES[cell.dtype] * k * n) if device != "cpu" else 1
    inputs = _random(tokens, k, device=device, dtype=cell.dtype)
    weights = [_random(n, k, device=device, dtype=cell.dtype).t() for _ in range(turns)]
    if cell.dtype == "bf16":
        return Kernel(lambda i: torch.mm(inputs, weights[i % turns]), turns, "mm", cell.bytes)
    _refuse_old_gpu(device)
    scale = torch.ones((), device=device, dtype=torch.float32)

    def scaled(i: int) -> Tensor:
        out, weight = torch.bfloat16, weights[i % turns]
        return torch._scaled_mm(inputs, weight, scale_a=scale, scale_b=scale, out_dtype=out, use_fast_accum=True)

    how, call, _ = _first_that_runs({"_scaled_mm": scaled})
    return Kernel(call, turns, how, cell.bytes)


def _refuse_old_gpu(device: str) -> None:
    has = torch.cuda.get_device_capability(device) if device != "cpu" else FP8_CAPABILITY
    if has < FP8_CAPABILITY:
        raise UnsupportedError(f"FP8 needs compute capability 8.9, this GPU has {has[0]}.{has[1]}")


def _experts(cell: Cell, device: str) -> Kernel:
    chosen, of, rows, k, n = (cell.size[name] for name in ("chosen", "of", "rows", "k", "n"))
    turns = min(copies(TYPE_BYTES["bf16"] * chosen * k * n), of // chosen) if device != "cpu" else 1
    inputs = _random(chosen * rows, k, device=device)
    weights = [_random(chosen, n, k, device=device).transpose(1, 2) for _ in range(turns)]
    ends = torch.arange(rows, chosen * rows + 1, rows, device=device, dtype=torch.int32)
    grouped = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
    ways: dict[str, Call] = {"bmm": lambda i: torch.bmm(inputs.view(chosen, rows, k), weights[i % turns])}
    if grouped:
        ways = {"grouped_mm": lambda i: grouped(inputs, weights[i % turns], offs=ends), **ways}
    how, call, note = _first_that_runs(ways)
    return Kernel(call, turns, how, cell.bytes, note=note)


def _pages(cell: Cell, width: int, device: str) -> tuple[int, Tensor]:
    """How many sequences' caches are taken in turn, and each one's pages: a random table of shape (turns, batch, pages of a sequence)."""
    batch, held = cell.size["batch"], cell.size["held"]
    page = min(PAGE_TOKENS, held)
    turns = copies(TYPE_BYTES["bf16"] * batch * held * width) if device != "cpu" else 1
    count = batch * (held // page)
    table = torch.stack([torch.randperm(count, device=device) + turn * count for turn in range(turns)])
    return turns, table.view(turns, batch, held // page).to(torch.int32)


def _decode(cell: Cell, device: str) -> Kernel:
    """Keys and values of their own: the paged kernel, or the pages gathered and then attended to, which moves three times the bytes."""
    batch, held, heads, kv_heads, key = (cell.size[name] for name in ("batch", "held", "heads", "kv_heads", "key"))
    page = min(PAGE_TOKENS, held)
    turns, table = _pages(cell, 2 * kv_heads * key, device)
    keys, values = (_random(table.numel(), page, kv_heads, key, device=device) for _ in range(2))
    queries = _random(batch, heads, key, device=device)

    def gathered(i: int) -> Tensor:
        wanted = table[i % turns].long()
        k, v = (pages[wanted].view(batch, held, kv_heads, key).transpose(1, 2) for pages in (keys, values))
        return F.scaled_dot_product_attention(queries.unsqueeze(2), k, v, enable_gqa=True)

    ways: dict[str, Call] = {"gather and SDPA": gathered}
    paged = _paged_attention()
    if paged and device != "cpu":
        starts = torch.arange(batch + 1, device=device, dtype=torch.int32)
        used = torch.full((batch,), held, device=device, dtype=torch.int32)

        def by_pages(ends: Tensor | None) -> Call:
            def call(i: int) -> Any:
                given = {"enable_gqa": True, "seqused_k": used, "block_table": table[i % turns]}
                return paged(queries, keys, values, starts, ends, 1, held, **given)

            return call

        ways = {"varlen_attn, paged": by_pages(None), "varlen_attn, paged, with ends": by_pages(starts * held), **ways}
    how, call, note = _first_that_runs(ways)
    cached = TYPE_BYTES["bf16"] * batch * held * 2 * kv_heads * key
    return Kernel(call, turns, how, cell.bytes + (2 * cached if how.startswith("gather") else 0), note=note)


def _paged_attention() -> Callable[..., Any] | None:
    """PyTorch's attention over pages, which recent versions have."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "block_table" in varlen_attn.__code__.co_varnames else None


def _shared_decode(cell: Cell, device: str) -> Kernel:
    """One entry is key and value of all heads (MLA), read whole or at random places: gathered, then two batched GEMMs and a softmax."""
    batch, context, held, heads, key, value = (cell.size[name] for name in ("batch", "context", "held", "heads", "key", "value"))
    page = min(PAGE_TOKENS, held)
    turns, table = _pages(cell, key, device)
    entries = _random(table.numel() * page, key, device=device)
    queries = _random(batch, heads, key, device=device)
    if context == held:
        wanted = (table.long().unsqueeze(-1) * page + torch.arange(page, device=device)).view(turns, batch, held)
    else:
        wanted = torch.randint(table.numel() // turns * page, (turns, batch, context), device=device)
        wanted += torch.arange(turns, device=device).view(-1, 1, 1) * (table.numel() // turns * page)

    def attend(i: int) -> Tensor:
        cache = entries[wanted[i % turns]]
        weights = torch.softmax(torch.bmm(queries, cache.transpose(1, 2)), dim=-1)
        return torch.bmm(weights, cache[..., :value])

    width = TYPE_BYTES["bf16"]
    gathered, scores = width * batch * context * key, width * batch * heads * context
    moved = cell.bytes + gathered * (2 + value / key) + 4 * scores
    return Kernel(attend, turns, "gather and bmm", moved)


def _prefill(cell: Cell, device: str) -> Kernel:
    """The prefix without a mask, then the chunk itself causally: two calls of SDPA, whose FLOPs are exactly the law's."""
    chunk, prefix, heads, kv_heads, key, value = (cell.size[name] for name in ("chunk", "prefix", "heads", "kv_heads", "key", "value"))
    queries = _random(1, heads, chunk, key, device=device)
    own = [_random(1, kv_heads, chunk, width, device=device) for width in (key, value)]
    past = [_random(1, kv_heads, prefix, width, device=device) for width in (key, value)] if prefix else None

    def attend(i: int) -> Tensor:
        result = F.scaled_dot_product_attention(queries, *own, is_causal=True, enable_gqa=heads != kv_heads)
        return F.scaled_dot_product_attention(queries, *past, enable_gqa=heads != kv_heads) if past else result

    if device == "cpu":
        return Kernel(attend, 1, "SDPA", cell.bytes)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fused = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}

    def by(backend: Any) -> Call:
        def call(i: int) -> Tensor:
            with sdpa_kernel(backend):
                return attend(i)

        return call

    how, call, note = _first_that_runs({f"SDPA, {name}": by(backend) for name, backend in fused.items()})
    return Kernel(call, 1, how, cell.bytes, note=note)


def _first_that_runs(ways: dict[str, Call]) -> tuple[str, Call, str]:
    """The first way that gets through one call, and why those before did not; memory running out is no way's fault and is passed on."""
    reasons = []
    for how, call in ways.items():
        try:
            call(0)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            reasons.append(f"{how}: {first_line(error)}")
        else:
            return how, call, "; ".join(reasons)
    raise UnsupportedError("; ".join(reasons))


def first_line(error: BaseException) -> str:
    """The first line of an error, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
