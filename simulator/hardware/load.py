"""Profiles as frozen objects: loads systems, model cards and deployments, and computes what follows from them together.

Inputs come from `hardware_profiles` (or a path, or an inline mapping of a scenario); what contradicts itself across fields is refused here.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, TypeVar

from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import Deployment, LawCoefficients
from simulator.hardware.memory import blocks_for, kv_bytes_per_token, kv_fixed_bytes, weight_bytes_per_gpu
from simulator.hardware.model_card import ModelCard
from simulator.hardware.profile import Profile, parse
from simulator.hardware.quality import Field, worst_quality
from simulator.hardware.schemas import DEPLOYMENT, INDEX_TYPES, KV_TYPES, MODEL, SYSTEM
from simulator.hardware.system import System

Ref = str | Path | Mapping[str, Any]
Part = TypeVar("Part", System, ModelCard)

GAINS = "gains per draft between 0 and 1, never growing"
"""What mean accepted lengths must show to belong to a distribution."""


def load_system(ref: Ref) -> System:
    """A system by name, path or inline mapping. Raises `UserError` with every mistake in it."""
    profile = parse(ref, SYSTEM, "systems")
    _raise_if(_range_mistakes(profile, "idle_w", profile["idle_w"] <= profile["tdp_w"], f"at most tdp_w, {profile['tdp_w']:g} W"))
    return System(**_common(profile), **{key: profile[key] for key in SYSTEM})


def load_model(ref: Ref) -> ModelCard:
    """A model card by name, path or inline mapping. Raises `UserError` with every mistake in it."""
    profile = parse(ref, MODEL, "models")
    layers = profile["csa_layers"] + profile["hca_layers"]
    means = profile["accept_means"]
    few = profile["experts_per_token"] <= profile["routed_experts"]
    _raise_if(
        [
            *_range_mistakes(profile, "layers", profile["layers"] == layers, f"csa_layers + hca_layers = {layers}"),
            *_range_mistakes(profile, "experts_per_token", few, f"at most routed_experts, {profile['routed_experts']}"),
            *_range_mistakes(profile, "accept_means", accept_pmf(means, len(means)) is not None, GAINS),
        ]
    )
    parts = {key: profile[key] for key in MODEL if not key.startswith(("kv_entry_bytes_", "index_entry_bytes_"))}
    parts["kv_entry_bytes"] = {kind: profile[f"kv_entry_bytes_{kind}"] for kind in KV_TYPES}
    parts["index_entry_bytes"] = {kind: profile[f"index_entry_bytes_{kind}"] for kind in INDEX_TYPES}
    return ModelCard(**_common(profile), **parts)


def load_deployment(
    ref: Ref, overrides: Mapping[str, Any] | None = None, *, system: System | None = None, model: ModelCard | None = None
) -> Deployment:
    """A deployment by name, path or inline mapping, with its KV pool and accepted-length distribution worked out.

    Parameters
    ----------
    ref : str, Path or mapping
    overrides : mapping, optional
        Fields to replace, whole or by bare value.
    system, model : optional
        What it runs on and serves; by default loaded by the names the deployment gives.

    Raises
    ------
    UserError
        With every mistake found, among them layouts that contradict themselves and weights that do not fit.
    """
    profile = parse(ref, DEPLOYMENT, "deployments", overrides)
    system = system or _named(profile, "system", load_system)
    model = model or _named(profile, "model", load_model)
    _raise_if(_layout_mistakes(profile, system, model))
    means = profile.get("accept_means", model.accept_means)
    pmf = accept_pmf(means, profile["drafts"])
    if pmf is None:
        culprit = "accept_means" if "accept_means" in profile.fields else "drafts"
        raise UserError(_range_mistakes(profile, culprit, False, f"at most {len(means)} drafts, {GAINS}"))
    pool, blocks, fixed, note = _kv_pool(profile, system, model)
    if blocks < 1:
        culprit = "memory_share" if pool == "computed" else "kv_pool_tokens"
        raise UserError(_range_mistakes(profile, culprit, False, f"room for a KV block; {note}"))
    law = LawCoefficients(**{field.name: profile[field.name] for field in dataclass_fields(LawCoefficients)})
    parts = _common(profile) | {field.name: profile[field.name] for field in dataclass_fields(Deployment) if field.name in DEPLOYMENT}
    parts["notes"] = (*profile.notes, note)
    parts["quality"] = worst_quality((profile.quality, system.quality, model.quality))
    return Deployment(**parts, blocks_per_rank=blocks, fixed_blocks=fixed, pool=pool, accept_pmf=pmf, law=law)


def accept_pmf(means: tuple[float, ...], drafts: int) -> tuple[float, ...] | None:
    """Distribution of tokens per step from the mean accepted lengths with 1, 2, .. drafts; None when they belong to no distribution.

    The means with k and with k - 1 drafts differ by the probability that draft k is accepted, so P(more than k tokens) = m_k - m_(k-1).
    """
    if drafts > len(means):
        return None
    mean = (1.0, *means[:drafts])
    at_least = (1.0, *(mean[k] - mean[k - 1] for k in range(1, drafts + 1)), 0.0)
    pmf = tuple(round(at_least[k] - at_least[k + 1], 12) for k in range(drafts + 1))
    return pmf if min(pmf) >= 0 else None


def _kv_pool(profile: Profile, system: System, model: ModelCard) -> tuple[str, int, int, str]:
    """Kind of pool, blocks per rank, fixed blocks per sequence, and what to tell the reader.

    A measured pool counts the tokens that an engine really admitted, so the fixed parts of its sequences are taken as lying outside it.
    """
    kv_type, index_type, block_tokens, ranks = profile["kv_type"], profile["index_type"], profile["block_tokens"], profile["ranks"]
    per_token = kv_bytes_per_token(model, kv_type, index_type)
    tp = profile["gpus_per_worker"] if profile["attention"] == "tp" else 1
    weights = weight_bytes_per_gpu(model, ep=profile["ep"], tp=tp)
    free = system.hbm_bytes * profile["memory_share"] - weights - profile["reserve_bytes"]
    share = profile.get("kv_pool_share", 1.0)
    computed = blocks_for(free * share, block_tokens, per_token)
    fixed = -int(-kv_fixed_bytes(model, kv_type) // (block_tokens * per_token))
    whole = blocks_for(free, block_tokens, per_token) * block_tokens
    arithmetic = f"memory arithmetic gives {whole:,} tokens per rank ({weights / 1e9:.0f} GB of weights per GPU)"
    if "kv_pool_tokens" not in profile.fields:
        used = f"; {share:.0%} of that is used" if share < 1 else ""
        return "computed", computed, fixed, f"KV pool: {arithmetic}{used}."
    measured = profile["kv_pool_tokens"] // ranks // block_tokens
    return "measured", measured, 0, f"KV pool: {measured * block_tokens:,} tokens per rank are used, as the profile gives it; {arithmetic}."


def _layout_mistakes(profile: Profile, system: System, model: ModelCard) -> list[Mistake]:
    gpus, ranks, attention = profile["gpus_per_worker"], profile["ranks"], profile["attention"]
    used = profile["workers"] * gpus
    whole = used <= system.gpus or used % system.gpus == 0
    queries = 1 + profile["drafts"]
    context = profile["max_context_tokens"] <= model.max_context_tokens
    return [
        *_range_mistakes(profile, "gpus_per_worker", gpus <= system.gpus, f"at most the {system.gpus} GPUs of {system.name}"),
        *_range_mistakes(profile, "workers", whole, f"whole systems of {system.gpus} GPUs, or part of one"),
        *_range_mistakes(profile, "ranks", gpus % ranks == 0, f"a divisor of gpus_per_worker, {gpus}"),
        *_range_mistakes(profile, "ranks", attention == "dp" or ranks == 1, "1 under tensor-parallel attention"),
        *_range_mistakes(profile, "ranks", attention == "tp" or ranks == gpus, f"gpus_per_worker, {gpus}, under attention-DP"),
        *_range_mistakes(profile, "ep", profile["ep"] == gpus, f"gpus_per_worker, {gpus}: every GPU holds its share of the experts"),
        *_range_mistakes(profile, "token_budget", profile["token_budget"] >= queries, f"at least 1 + drafts = {queries}"),
        *_range_mistakes(profile, "drafts", profile["drafts"] == 0 or model.mtp_layers > 0, f"0: {model.name} has no draft layer"),
        *_range_mistakes(profile, "max_context_tokens", context, f"at most the model's {model.max_context_tokens:,}"),
    ]


def _named(profile: Profile, key: str, load: Callable[[Ref], Part]) -> Part:
    """The system or model that a deployment names; a name that leads nowhere is a mistake of the deployment's line."""
    field = profile.fields[key]
    try:
        return load(field.value)
    except UserError as error:
        if error.mistakes[0].value != repr(field.value):
            raise
        _, _, _, allowed, hint, _ = astuple(error.mistakes[0])
        raise UserError(Mistake(field.file or profile.file, f"{key}.value", repr(field.value), allowed, hint, field.line)) from error


def _range_mistakes(profile: Profile, key: str, holds: bool, allowed: str) -> list[Mistake]:
    """The mistake of one field that contradicts another; none when the rule ``holds``."""
    field: Field = profile.fields[key]
    return [] if holds else [Mistake(field.file or profile.file, f"{key}.value", repr(field.value), allowed, line=field.line)]


def _raise_if(mistakes: list[Mistake]) -> None:
    if mistakes:
        raise UserError(mistakes)


def _common(profile: Profile) -> dict[str, Any]:
    """The parts that every loaded object carries."""
    return {"name": profile.name, "title": profile.title, "quality": profile.quality, "notes": profile.notes, "fields": profile.fields}
