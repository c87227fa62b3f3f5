"""What a calibration measured, as a deployment that both engines play: every field with its source and quality. Inputs are a fit's results.

The step-time law enters in its own terms (docs/laws.md), so no card of a system or model is needed; where none is named they are `unknown`,
and so are watts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml

from simulator.calibration.cell import CellRow, Endpoint
from simulator.calibration.live_traits import BLOCKS, SLOTS, USUAL_BUDGET, Trait
from simulator.capacity.fleet import engine_pools
from simulator.engine.world import Pool
from simulator.errors import Mistake, UserError
from simulator.hardware.badge import CALIBRATION
from simulator.hardware.deployment import Deployment, LawCoefficients
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.schemas import DEPLOYMENT
from simulator.hardware.unknown import UNKNOWN

ENGINES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "trtllm": "trtllm", "dynamo": "vllm"}
"""Metrics dialect -> the preset whose scheduling rules are played; of an endpoint that tells nothing, its cache kind decides."""

USUAL_BLOCK, USUAL_SEATS, USUAL_CONTEXT = 16, 256, 32_768
"""vLLM's defaults below 70 GB, as `USUAL_BUDGET`; what stands for what neither experiments nor the server say (then `assumed`)."""

TOLD = "as the server tells"
"""Source of what no experiment showed."""

LAW_FIELDS = (
    "floor_s", "host_s", "sequence_s", "context_token_s", "decode_token_s", "prefill_token_s", "prefill_pair_s", "shared_tokens",
    "shared_s",
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A property of an engine with where it comes from."""

    value: Any
    quality: str
    source: str


@dataclass(frozen=True)
class Measured:
    """An endpoint as a deployment: its law, its engine's properties, and the range that cells covered.

    ``engine``, ``block_tokens``, ``kv_tokens``, ``token_budget`` and the others are read off ``known``.
    """

    engine: str
    law: LawCoefficients
    request_s: float
    known: Mapping[str, Known]
    valid_seqs: int
    valid_context_tokens: int
    system: str = UNKNOWN
    model: str = UNKNOWN
    gpus: int = 1

    @property
    def token_budget(self) -> int:
        return int(self.known["token_budget"].value)

    @property
    def max_seqs(self) -> int:
        return int(self.known["max_seqs"].value)

    @staticmethod
    def guess(endpoint: Endpoint, floor_s: float, token_s: float) -> "Measured":
        """What to begin with: orders of magnitude, and an engine at its defaults."""
        nan = float("nan")
        law = LawCoefficients(
            floor_s, 0.0, nan, nan, nan, 0.0, token_s, 1e-6 * token_s, context_token_s=1e-6 * floor_s, sequence_s=0.01 * floor_s
        )
        context = endpoint.max_context_tokens or USUAL_CONTEXT
        measured = Measured(ENGINES.get(endpoint.dialect, "vllm"), law, 0.0, {}, 1, context)
        return measured.told({}, endpoint, ())

    def told(self, found: Mapping[str, Trait], endpoint: Endpoint, cells: Sequence[CellRow]) -> "Measured":
        """With what experiments found, else what the server tells (or whom the endpoint's fact ``told_by`` names), else the usual."""
        by = str(endpoint.facts.get("told_by", TOLD))
        cache = _known(found.get("prefix_cache"), None, SLOTS if self.engine == "llamacpp" else BLOCKS, by)
        engine = ENGINES.get(endpoint.dialect) or ("llamacpp" if cache.value == SLOTS else "vllm")
        context = _known(None, endpoint.max_context_tokens, max(USUAL_CONTEXT, self.valid_context_tokens), by)
        seats = _known(found.get("max_seqs"), endpoint.max_seqs, USUAL_SEATS, by)
        block = _known(found.get("block_tokens"), endpoint.block_tokens, 1 if cache.value == SLOTS else USUAL_BLOCK, by)
        blocks = _known(found.get("kv_blocks"), endpoint.kv_blocks, -(-context.value * min(seats.value, 64) // block.value), by)
        held = max(int(blocks.value), -(-context.value // block.value)) * block.value
        if cache.value == SLOTS:
            held = seats.value * (-(-context.value // block.value)) * block.value
        pool = replace(blocks, value=int(held))
        budget = _known(found.get("token_budget"), endpoint.token_budget, USUAL_BUDGET, by)
        budget = replace(budget, value=max(int(budget.value), int(block.value)))
        known = {
            "prefix_cache": cache, "max_context_tokens": context, "max_seqs": seats, "block_tokens": block, "kv_pool_tokens": pool,
            "token_budget": budget,
        }  # fmt: skip
        seqs, longest = covered(cells)
        return replace(self, engine=engine, known=known, valid_seqs=max(1, seqs), valid_context_tokens=longest or self.valid_context_tokens)


def _known(trait: Trait | None, told: Any, usual: Any, by: str) -> Known:
    """A property's value: by experiment, as the server tells, at least what was seen, or the usual."""
    if trait is not None and trait.value is not None:
        span = f", between {trait.low:g} and {trait.high:g}" if trait.low is not None and trait.high not in (None, trait.low) else ""
        cells = f"cells {', '.join(trait.cells[:3])}" if trait.cells else "all cells"
        return Known(trait.value, "measured", f"found by experiment{span}: {cells}")
    if told is not None:
        return Known(told, "measured", by)
    if trait is not None and trait.low is not None and trait.low >= 1:
        return Known(int(trait.low), "estimated", f"at least {trait.low:g} were seen; no cell found the limit")
    return Known(usual, "assumed", "not found by experiment and not told by the server: a usual value")


def covered(cells: Sequence[CellRow]) -> tuple[int, int]:
    """Most sequences side by side and longest context of cells that the law is fitted to."""
    seqs = [int(cell.params.get("batch", 1)) for cell in cells if cell.kind in ("decode", "context", "mixed")]
    seqs += [cell.lanes for cell in cells if cell.kind in ("saturation", "replay")] if not seqs else []
    tokens = [
        int(max(cell.params.get("prompt", 0), cell.params.get("context", 0)) + cell.params.get("output", 0))
        for cell in cells
        if cell.kind in ("floor", "prefill", "decode", "context", "mixed")
    ]
    return max(seqs, default=0), max(tokens, default=0)


def overlay(
    measured: Measured, where: str, law_source: str = "", intervals: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, Any]:
    """The deployment as a profile's mapping. ``where`` names the endpoint and date without any host."""
    said = f"{CALIBRATION}{measured.system}: {where}"
    fields: dict[str, Any] = {}

    def put(key: str, value: Any, quality: str, source: str) -> None:
        fields[key] = {"value": value, "unit": DEPLOYMENT[key].unit, "source": f"{said}; {source}", "quality": quality}

    put("engine", measured.engine, "measured", "by its metrics or its cache")
    put("system", measured.system, "measured", "as named by who calibrated" if measured.system != UNKNOWN else "not named")
    put("model", measured.model, "measured", "as named by who calibrated" if measured.model != UNKNOWN else "not named")
    for key, value in {"workers": 1, "gpus_per_worker": measured.gpus, "ranks": 1, "ep": measured.gpus}.items():
        put(key, value, "measured", "one endpoint")
    put("attention", "tp", "measured", "one endpoint is one scheduler")
    for key, one in measured.known.items():
        put(key, one.value, one.quality, one.source)
    put("drafts", 0, "measured", "the law is per output token, whatever the engine drafts")
    for key in LAW_FIELDS:
        value = getattr(measured.law, key)
        if isinstance(value, tuple):
            if value:
                put(key, list(value), "fitted", law_source or "fitted to its cells")
        elif value is not None:
            put(key, float(value), "fitted", law_source or "fitted to its cells")
            if intervals and key in intervals and 0 < intervals[key][0] <= value <= intervals[key][1]:
                fields[key]["spread"] = {"low": intervals[key][0], "high": intervals[key][1]}
    put("request_s", measured.request_s, "fitted", "client's TTFT of short prompts beyond their steps")
    put("valid_seqs", measured.valid_seqs, "measured", "most sequences side by side in cells")
    put("valid_context_tokens", measured.valid_context_tokens, "measured", "longest context in cells")
    chunk = min(measured.token_budget, measured.valid_context_tokens)
    put("valid_chunk_tokens", chunk, "measured", "most prompt tokens of a step: the longest prompt, up to the token budget")
    return fields


def overlay_text(
    measured: Measured, name: str, where: str, notes: Sequence[str], intervals: Mapping[str, tuple[float, float]] | None = None
) -> str:
    """The deployment as the YAML of a profile."""
    head = {"name": name, "title": f"{name}, calibrated", "notes": list(notes)}
    body = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=140)
    fields = overlay(measured, where, intervals=intervals)
    lines = [
        f"{key}: {yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()}"
        for key, value in fields.items()
    ]
    return body + "\n".join(lines) + "\n"


class Playing(NamedTuple):
    """What plays cells: a worker as the engine reads it, tokens of its KV blocks, seconds before the scheduler, and its law."""

    pool: Pool
    block_tokens: int
    request_s: float
    law: LawCoefficients


def playing(measured: Measured) -> Playing:
    """The endpoint as it was measured; what cards say of it does not matter to times."""
    fields = {"name": "live", **overlay(replace(measured, system=UNKNOWN, model=UNKNOWN, gpus=1), "fit")}
    return playing_deployment(load_deployment(fields))


def playing_deployment(deployment: Deployment) -> Playing:
    """An overlay that was loaded. Raises `UserError` when it is none: one pool with a measured law."""
    if len(deployment.pools) != 1 or deployment.pools[0].law.context_token_s is None:
        raise UserError(Mistake(deployment.name, "context_token_s", "nothing", "a measured law in one pool", "give an overlay"))
    (pool,) = engine_pools(load_system(deployment.system), load_model(deployment.model), deployment)
    return Playing(pool, deployment.block_tokens, deployment.request_s, deployment.pools[0].law)
