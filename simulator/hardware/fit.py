"""The smallest worker of a system that holds a model, and what would hold it where none does.

Inputs are a deployment's types, shares and reserve (given or derived), a system and a model card.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from simulator.errors import Mistake, UserError
from simulator.hardware.model_card import ModelCard
from simulator.hardware.pools import kv_pool
from simulator.hardware.profile import Profile
from simulator.hardware.quality import Field
from simulator.hardware.schemas import DEPLOYMENT
from simulator.hardware.system import System

USEFUL_TOKENS = 131_072
"""KV pool that a rank must have room for, unless the model's context is shorter: the longest prompts of the benchmark."""

WIDTHS = tuple(2**power for power in range(11))

RESERVE_BYTES, COLLECTIVE_BYTES = 3_758_096_384, 411_041_792
"""Memory besides weights and KV, and for collectives of several GPUs: ``other_mem`` and ``nccl_mem`` of aiconfigurator's system files."""


@dataclass(frozen=True)
class Layout:
    """A worker: its GPUs, and whether they share one rank's attention (``tp``) or each have their own sequences (``dp``)."""

    attention: str
    gpus: int

    @property
    def fields(self) -> dict[str, str | int]:
        """As a deployment says it."""
        ranks = self.gpus if self.attention == "dp" else 1
        reserve = RESERVE_BYTES + COLLECTIVE_BYTES * (self.gpus > 1)
        return {"gpus_per_worker": self.gpus, "attention": self.attention, "ranks": ranks, "ep": self.gpus, "reserve_bytes": reserve}

    def __str__(self) -> str:
        return f"{'DEP' if self.attention == 'dp' else 'TP'}{self.gpus}"


def smallest_layout(profile: Profile, system: System, model: ModelCard, others: Iterable[System]) -> Layout:
    """The first layout that fits, among those that the deployment's own fields allow.

    Raises
    ------
    UserError
        When none does; it says how many GPUs would, by weight type, and which of the ``others``.
    """
    found = next((layout for layout in layouts(profile, model, system.gpus) if fits(layout, profile, system, model)), None)
    if found is None:
        raise UserError(_too_big(profile, system, model, others))
    return found


def layouts(profile: Profile, model: ModelCard, most_gpus: int) -> Iterator[Layout]:
    """Layouts to try, best first: with one KV head attention-DP of any width before tensor parallelism, which replicates the KV."""
    given = {"attention": [profile.get("attention", "")], "gpus": [profile.get("gpus_per_worker", 0)]}
    kinds = given["attention"] if given["attention"][0] else ["dp", "tp"] if model.attention.kv_heads == 1 else ["tp"]
    widths = given["gpus"] if given["gpus"][0] else [width for width in WIDTHS if width <= most_gpus]
    for kind in kinds:
        for gpus in widths:
            parts = model.heads if kind == "tp" else model.routed_experts
            if parts % gpus == 0:
                yield Layout("tp" if gpus == 1 and "attention" not in profile.fields else kind, gpus)


def fits(layout: Layout, profile: Profile, system: System, model: ModelCard) -> bool:
    """Whether the weights leave each rank room for a useful KV pool."""
    fresh = {key: _field(key, value) for key, value in layout.fields.items() if key not in profile.fields}
    pool = kv_pool(replace(profile, fields={**profile.fields, **fresh}), system, model)
    tokens: int = pool.blocks * profile["block_tokens"]
    return tokens >= min(USEFUL_TOKENS, model.max_context_tokens)


def _field(key: str, value: str | int) -> Field:
    return Field(key, value, DEPLOYMENT[key].unit, "a layout that is tried", "estimated")


def _too_big(profile: Profile, system: System, model: ModelCard, others: Iterable[System]) -> Mistake:
    """What a model lacks on a system, and what would hold it."""
    own = profile["weight_type"]
    needs = {cast: _gpus_needed(_cast(profile, cast), system, model) for cast in dict.fromkeys((own, "fp8", "fp4"))}
    casts = [cast for cast, gpus in needs.items() if 0 < gpus <= system.gpus]
    enough = " or ".join(f"{gpus} GPUs as {cast}" for cast, gpus in needs.items() if gpus)
    remedy = f"one worker would need {enough}" + (f"; give weight_type: {casts[0]}" if casts else "")
    fitting = [other.name for other in others if other.name != system.name and _holds(other, profile, model)]
    where = f"; as {own} it fits {', '.join(fitting)}" if fitting else ""
    room = f"weights and {min(USEFUL_TOKENS, model.max_context_tokens):,} tokens of KV per rank"
    allowed = f"a model whose {room} fit {system.gpus} GPUs of {system.hbm_bytes / 1e9:.0f} GB"
    return Mistake(profile.file, "model", f"{model.name} with weights as {own} on {system.name}", allowed, remedy + where)


def _cast(profile: Profile, weight_type: str) -> Profile:
    return replace(profile, fields={**profile.fields, "weight_type": _field("weight_type", weight_type)})


def _gpus_needed(profile: Profile, system: System, model: ModelCard) -> int:
    """GPUs like the system's that one worker would need; 0 when no count does."""
    found = [layout.gpus for layout in layouts(profile, model, WIDTHS[-1]) if fits(layout, profile, system, model)]
    return min(found, default=0)


def _holds(system: System, profile: Profile, model: ModelCard) -> bool:
    return any(fits(layout, profile, system, model) for layout in layouts(profile, model, system.gpus))
