"""From the fields of a model card to its parts: which fields its kind of attention needs, what must not contradict, bytes of KV entries.

Inputs are the checked fields of a profile of `hardware_profiles/models`.
"""

from collections.abc import Iterator
from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from typing import Any

from simulator.errors import Mistake
from simulator.hardware.attention import Attention
from simulator.hardware.attention_compressed import CompressedAttention
from simulator.hardware.attention_grouped import GroupedAttention
from simulator.hardware.attention_hybrid import HybridAttention
from simulator.hardware.attention_latent import LatentAttention
from simulator.hardware.layout import range_mistakes
from simulator.hardware.profile import Profile
from simulator.hardware.schemas import INDEX_TYPES, KV_TYPES, MODEL
from simulator.hardware.spec import missing

KINDS = {"gqa": GroupedAttention, "mla": LatentAttention, "hybrid": HybridAttention, "compressed": CompressedAttention}
"""Kind of attention -> its class, whose attributes are the fields it reads."""

VALUE_BYTES = {"fp8": 1, "bf16": 2}
"""Storage of a KV entry without packing: bytes per value."""

PLAIN = (
    "layers", "hidden", "heads", "dense_layers", "dense_inner", "routed_experts", "shared_experts", "experts_per_token", "expert_inner",
    "hyper_streams", "mtp_layers", "vocab", "max_context_tokens", "expert_param_bytes", "dense_param_bytes", "attention_param_bytes",
    "wide_param_bytes",
)  # fmt: skip
"""What a card's object takes from the fields as it stands there, 0 where the model has none of it."""

EXPERTS = ("experts_per_token", "expert_inner", "expert_param_bytes")
TOGETHER = (("window_layers", "window_tokens"), ("index_heads", "index_dim", "index_topk"), ("dense_layers", "dense_inner"))
"""Fields that say one thing together; a card gives all of them or none."""


def card_mistakes(profile: Profile) -> list[Mistake]:
    """What the fields of a model card contradict, and what its kind of attention lacks; all of it at once."""
    lacking = [*_lacking(profile)]
    if lacking:
        return [missing(profile.file, key, MODEL[key], reason) for key, reason in dict.fromkeys(lacking)]
    return [*_foreign(profile), *_contradictions(profile)]


def card_parts(profile: Profile) -> dict[str, Any]:
    """The attributes of a `ModelCard` that come from a good card's fields."""
    attention = _attention(profile)
    index = {kind: profile.get(f"index_entry_bytes_{kind}", 0.0) for kind in INDEX_TYPES}
    return {key: profile.get(key, 0) for key in PLAIN} | {
        "attention": attention,
        "fp4_attention_param_bytes": profile.get("fp4_attention_param_bytes", profile["attention_param_bytes"]),
        "kv_entry_bytes": _entry_bytes(profile, attention),
        "index_entry_bytes": {kind: size for kind, size in index.items() if size},
        "accept_means": profile.get("accept_means", ()),
    }


def _attention(profile: Profile) -> Attention:
    kind = KINDS[profile["attention"]]
    found: Attention = kind(**{field.name: profile[field.name] for field in dataclass_fields(kind) if field.name in profile.fields})
    return found


def _entry_bytes(profile: Profile, attention: Attention) -> dict[str, float]:
    """Bytes of a KV entry by type: those that the card gives, and plain storage of its values."""
    plain = {kind: attention.entry_values * size for kind, size in VALUE_BYTES.items()}
    return {kind: profile.get(f"kv_entry_bytes_{kind}", plain.get(kind)) for kind in KV_TYPES if kind in plain or _given(profile, kind)}


def _given(profile: Profile, kind: str) -> bool:
    return f"kv_entry_bytes_{kind}" in profile.fields


def _lacking(profile: Profile) -> Iterator[tuple[str, str]]:
    """Fields that other fields ask for, and why."""
    name = profile["attention"]
    needed = [field.name for field in dataclass_fields(KINDS[name]) if field.default is MISSING]
    for key in needed:
        if key not in profile.fields:
            yield key, f"attention {name} needs it"
    for group in TOGETHER:
        given = [key for key in group if key in profile.fields and key not in needed]
        for key in group:
            if given and key not in profile.fields:
                yield key, f"it goes with {given[0]}"
    if profile.get("index_topk", 0) and not any(f"index_entry_bytes_{kind}" in profile.fields for kind in INDEX_TYPES):
        yield "index_entry_bytes_fp8", "an indexer keeps a key per token"
    if "routed_experts" in profile.fields:
        for key in EXPERTS:
            if key not in profile.fields:
                yield key, "it goes with routed_experts"


def _foreign(profile: Profile) -> Iterator[Mistake]:
    """Fields that only another kind of attention reads."""
    name = profile["attention"]
    own = {field.name for field in dataclass_fields(KINDS[name])}
    others = {field.name for kind in KINDS.values() for field in dataclass_fields(kind)} - own
    for key in profile.fields:
        if key in others:
            yield from range_mistakes(profile, key, False, f"nothing: attention {name} does not have it")


def _contradictions(profile: Profile) -> Iterator[Mistake]:
    layers, dense = profile["layers"], profile.get("dense_layers", 0)
    experts = profile.get("routed_experts", 0)
    if "dense_layers" in profile.fields:
        allowed = f"at most layers, {layers}" if experts else f"layers, {layers}, in a model without routed_experts"
        yield from range_mistakes(profile, "dense_layers", dense < layers if experts else dense == layers, allowed)
    elif not experts:
        yield missing(profile.file, "dense_layers", MODEL["dense_layers"], "a model without routed_experts has them in all layers")
    if experts:
        yield from range_mistakes(
            profile, "experts_per_token", profile["experts_per_token"] <= experts, f"at most routed_experts, {experts}"
        )
    if "window_layers" in profile.fields:
        yield from range_mistakes(profile, "window_layers", profile["window_layers"] <= layers, f"at most layers, {layers}")
    if "linear_layers" in profile.fields:
        yield from range_mistakes(profile, "linear_layers", profile["linear_layers"] < layers, f"fewer than layers, {layers}")
    if "kv_heads" in profile.fields:
        heads = profile["heads"]
        yield from range_mistakes(profile, "kv_heads", heads % profile["kv_heads"] == 0, f"a divisor of heads, {heads}")
    if profile["attention"] == "compressed":
        sparse = profile["csa_layers"] + profile["hca_layers"]
        yield from range_mistakes(profile, "layers", sparse <= layers, f"at least csa_layers + hca_layers = {sparse}")
