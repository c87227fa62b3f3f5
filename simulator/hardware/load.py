"""Profiles as frozen objects: loads systems, model cards, engine presets and deployments, and computes what follows from them together.

Inputs come from `hardware_profiles` (or a path, or an inline mapping of a scenario); what contradicts itself across fields is refused here.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, replace
from dataclasses import fields as dataclass_fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from simulator.catalog import names
from simulator.errors import Mistake, UserError
from simulator.hardware.card_rules import card_mistakes, card_parts
from simulator.hardware.deployment import Deployment
from simulator.hardware.derive import completed, with_engine
from simulator.hardware.grounds import grounds
from simulator.hardware.layout import layout_mistakes, range_mistakes
from simulator.hardware.model_card import ModelCard
from simulator.hardware.pools import worker_pool
from simulator.hardware.preset import Preset, overridden
from simulator.hardware.profile import PoolFields, Profile, parse
from simulator.hardware.quality import Field, worst_quality
from simulator.hardware.schemas import DEPLOYMENT, ENGINE, MODEL, POOL, PRICES, SYSTEM
from simulator.hardware.spread import Change
from simulator.hardware.system import System
from simulator.hardware.unknown import DECLARED, UNKNOWN, unknown_model, unknown_system

Ref = str | Path | Mapping[str, Any]
Part = TypeVar("Part", System, ModelCard, Preset)

UNUSED = {
    "weight_type": "stored",
    "index_type": "none",
    "first_token": "prefill",
    "kv_transfer": "end",
    "decode_prealloc": False,
    "decode_router": "least_loaded",
    "kv_link": "scale_up",
    "kv_link_efficiency": 1.0,
    "kv_link_latency_s": 0.0,
    "kv_port": "rank",
    "host_latency_s": 0.0,
    "request_s": 0.0,
    **DECLARED,
}
"""What stands in a deployment for fields that it may leave out: weights as the card stores them, no indexer, and in mixed pools the options
that its engine does not have; `layout_mistakes` refuses to use them."""

GAINS = "gains per draft between 0 and 1, never growing"
"""What mean accepted lengths must show to belong to a distribution."""


def load_system(ref: Ref, change: Change | None = None) -> System:
    """A system by name, path or inline mapping, with every field changed. Raises `UserError` with every mistake in it.

    Examples
    --------
    >>> from simulator import load_system
    >>> system = load_system("gb300_nvl72")
    >>> system.gpus, system.tdp_w, system.quality
    (72, 1400, 'assumed')
    """
    if ref == UNKNOWN:
        return unknown_system()
    profile = _changed(parse(ref, SYSTEM, "systems"), change)
    _raise_if(range_mistakes(profile, "idle_w", profile["idle_w"] <= profile["tdp_w"], f"at most tdp_w, {profile['tdp_w']:g} W"))
    quality = worst_quality(field.quality for key, field in profile.fields.items() if key not in PRICES)
    return System(**_common(profile) | {"quality": quality}, **{key: profile.get(key, 0.0) for key in SYSTEM})


def load_model(ref: Ref, change: Change | None = None) -> ModelCard:
    """A model card by name, path or inline mapping, with every field changed. Raises `UserError` with every mistake in it.

    Examples
    --------
    >>> from simulator import load_model
    >>> load_model("glm_5").layers
    78
    """
    if ref == UNKNOWN:
        return unknown_model()
    profile = _changed(parse(ref, MODEL, "models"), change)
    _raise_if(card_mistakes(profile))
    means = profile.get("accept_means", ())
    if means:
        _raise_if(range_mistakes(profile, "accept_means", accept_pmf(means, len(means)) is not None, GAINS))
    return ModelCard(**_common(profile), **card_parts(profile))


def load_engine(ref: Ref, change: Change | None = None) -> Preset:
    """An engine preset by name, path or inline mapping, with every field changed. Raises `UserError` with every mistake in it."""
    profile = _changed(parse(ref, ENGINE, "engines"), change)
    _raise_if(range_mistakes(profile, "ratio_min", profile["ratio_min"] <= profile["ratio_init"], "at most ratio_init"))
    return Preset(**_common(profile), imitates=profile["imitates"])


def load_deployment(
    ref: Ref,
    overrides: Mapping[str, Any] | None = None,
    *,
    system: System | None = None,
    model: ModelCard | None = None,
    change: Change | None = None,
) -> Deployment:
    """A deployment by name, path or inline mapping, with its KV pools and accepted-length distribution worked out.

    Parameters
    ----------
    ref : str, Path or mapping
    overrides : mapping, optional
        Fields to replace, whole or by bare value; ``pools`` maps names to such mappings.
    system, model : optional
        What it runs on and serves; by default loaded by the names the deployment gives. What else the deployment leaves out is derived.
    change : callable, optional
        What becomes of every field, the preset's and by default the system's and the model's too, before anything is computed from it.

    Raises
    ------
    UserError
        With every mistake found, among them layouts that contradict themselves and weights that do not fit.

    Examples
    --------
    >>> from simulator import load_deployment
    >>> deployment = load_deployment("hgx_h200_v4pro_20tps", {"max_seqs": 16})
    >>> deployment.gpus, [(pool.role, pool.max_seqs) for pool in deployment.pools]
    (8, [('mixed', 16)])
    """
    given = {kind: _said(kind, part.name) for kind, part in (("system", system), ("model", model)) if part is not None}
    profile = parse(ref, DEPLOYMENT, "deployments", overrides, POOL, given)
    system = system or _named(profile, "system", partial(load_system, change=change))
    model = model or _named(profile, "model", partial(load_model, change=change))
    profile = with_engine(profile)
    preset = _engine(profile, change)
    profile = completed(profile, preset, system, model, map(load_system, names("systems")))
    profile = _changed(profile, change, f"{profile['model']} on {profile['system']}")
    options = preset.options(profile["drafts"])
    views = {
        name: replace(profile, fields={**preset.options(profile["drafts"], _role(pool)), **profile.fields, **pool.fields})
        for name, pool in (profile.pools or {"mixed": PoolFields({})}).items()
    }
    _raise_if(layout_mistakes(profile, views, system, model))
    pmf = _accept_pmf_of(profile, model)
    built = {name: worker_pool(name, view, system, model) for name, view in views.items()}
    pools = tuple(pool for pool, _ in built.values())
    shared = replace(profile, fields={**options, **profile.fields})
    fields = grounds(profile, preset, options, pools)
    notes = [note if len(built) == 1 else f"{name}: {note}" for name, (_, note) in built.items()]
    given = {
        field.name: shared.get(field.name, UNUSED.get(field.name)) for field in dataclass_fields(Deployment) if field.name in DEPLOYMENT
    }
    own = [key for pool in profile.pools.values() for key in overridden(preset.options(profile["drafts"], _role(pool)), pool.fields)]
    own = overridden(options, profile.fields) + own
    parts = (
        _common(profile)
        | given
        | {
            "engine": preset.name,
            "imitates": profile.get("imitates", preset.imitates),
            "notes": (*profile.notes, *notes),
            "fields": fields,
            "quality": worst_quality((system.quality, model.quality, *(field.quality for field in fields.values()))),
        }
    )
    return Deployment(**parts, inspired=tuple(dict.fromkeys(own)), accept_pmf=pmf, pools=pools)


def _said(kind: str, name: str) -> Field:
    return Field(kind, name, DEPLOYMENT[kind].unit, "the scenario", "datasheet")


def _role(pool: PoolFields) -> str:
    return str(pool.fields["role"].value) if "role" in pool.fields else "mixed"


def _changed(profile: Profile, change: Change | None, subject: str = "") -> Profile:
    """The profile with its fields changed; a deployment's subject is not its own name but the model on the system."""
    return profile if change is None else profile.mapped(partial(change, subject or profile.name))


def _engine(profile: Profile, change: Change | None) -> Preset:
    """The preset that a deployment names, by itself or as the engine it imitates."""
    imitated = profile.get("imitates", "").partition("@")[0]
    if "engine" in profile.fields:
        preset = _named(profile, "engine", partial(load_engine, change=change))
        name = preset.imitates.partition("@")[0]
        _raise_if(range_mistakes(profile, "imitates", imitated == name, f"{name}@version, as engine says") if imitated else [])
        return preset
    try:
        return load_engine(imitated, change)
    except UserError as error:
        wrong, field = error.mistakes[0], profile.fields["imitates"]
        found = replace(wrong, file=field.file or profile.file, field="imitates.value", value=repr(field.value), line=field.line)
        raise UserError(found) from error


def _accept_pmf_of(profile: Profile, model: ModelCard) -> tuple[float, ...]:
    means = profile.get("accept_means", model.accept_means)
    pmf = accept_pmf(means, profile["drafts"])
    if pmf is None:
        culprit = "accept_means" if "accept_means" in profile.fields else "drafts"
        raise UserError(range_mistakes(profile, culprit, False, f"at most {len(means)} drafts, {GAINS}"))
    return pmf


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


def _raise_if(mistakes: list[Mistake]) -> None:
    if mistakes:
        raise UserError(mistakes)


def _common(profile: Profile) -> dict[str, Any]:
    """The parts that every loaded object carries."""
    return {"name": profile.name, "title": profile.title, "quality": profile.quality, "notes": profile.notes, "fields": profile.fields}
