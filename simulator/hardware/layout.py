"""What a deployment's fields must not contradict: the widths of its workers, the roles of its pools, the options of its engine.

Inputs are the effective fields of each pool (preset, then deployment, then its own).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise

from simulator.errors import Mistake
from simulator.hardware.model_card import ModelCard
from simulator.hardware.profile import Profile
from simulator.hardware.quality import Field
from simulator.hardware.schemas import DEPLOYMENT
from simulator.hardware.spec import missing
from simulator.hardware.system import System
from simulator.hardware.unknown import UNKNOWN, known

PD_OPTIONS = (
    "first_token", "kv_transfer", "decode_prealloc", "decode_router", "kv_link", "kv_link_efficiency", "kv_link_latency_s", "kv_port",
)  # fmt: skip
"""What a deployment with prefill and decode pools must know."""


def layout_mistakes(profile: Profile, pools: Mapping[str, Profile], system: System, model: ModelCard) -> list[Mistake]:
    """All contradictions of a deployment, each once."""
    each = chain.from_iterable(_pool_mistakes(pool, system, model) for pool in pools.values())
    types = _type_mistakes(profile, system, model) if known(system, model) else ()
    return list(dict.fromkeys(chain(types, each, _fleet_mistakes(profile, pools, system))))


def range_mistakes(profile: Profile, key: str, holds: bool, allowed: str) -> list[Mistake]:
    """The mistake of one field that contradicts another; none when the rule ``holds``."""
    field: Field = profile.fields[key]
    return [] if holds else [Mistake(field.file or profile.file, f"{field.name}.value", repr(field.value), allowed, line=field.line)]


def _pool_mistakes(pool: Profile, system: System, model: ModelCard) -> list[Mistake]:
    gpus, ranks, attention = pool["gpus_per_worker"], pool["ranks"], pool["attention"]
    role, slots = pool.get("role", "mixed"), pool["prefix_cache"] == "slots"
    queries = 1 if role == "prefill" else 1 + pool["drafts"]
    rounded, host = pool["chunk_round"] or pool["block_tokens"], pool.get("host_tier_bytes", 0.0)
    context = model.name == UNKNOWN or pool["max_context_tokens"] <= model.max_context_tokens
    whole = "context_token_s" in pool.fields
    knots, times = pool.get("shared_tokens", ()), pool.get("shared_s", ())
    depth = "1 in a prefill pool: its calls end with their first token"
    own_depth = pool.fields["pipeline_depth"].name.startswith("pools.") and role == "prefill"
    return [
        *range_mistakes(pool, "gpus_per_worker", gpus <= system.gpus, f"at most the {system.gpus} GPUs of {system.name}"),
        *range_mistakes(pool, "ranks", gpus % ranks == 0, f"a divisor of gpus_per_worker, {gpus}"),
        *range_mistakes(pool, "ranks", attention == "dp" or ranks == 1, "1 under tensor-parallel attention"),
        *range_mistakes(pool, "ranks", attention == "tp" or ranks == gpus, f"gpus_per_worker, {gpus}, under attention-DP"),
        *range_mistakes(pool, "ep", pool["ep"] == gpus, f"gpus_per_worker, {gpus}: every GPU holds its share of the experts"),
        *range_mistakes(pool, "token_budget", pool["token_budget"] >= queries, f"at least 1 + drafts = {queries}"),
        *range_mistakes(pool, "drafts", pool["drafts"] == 0 or not whole, "0: a law that was measured as times knows nothing of drafts"),
        *(
            range_mistakes(pool, "shared_s", len(times) == len(knots), f"{len(knots)} times, one for each of shared_tokens")
            if times
            else ()
        ),
        *(range_mistakes(pool, "shared_tokens", _rising(knots) and bool(times), "rising, with shared_s beside") if knots else ()),
        *range_mistakes(pool, "drafts", pool["drafts"] == 0 or model.mtp_layers > 0, f"0: {model.name} has no draft layer"),
        *range_mistakes(pool, "drafts", pool["drafts"] == 0 or not slots, "0: drafts are not modelled with prefix_cache slots"),
        *range_mistakes(pool, "token_budget", pool["token_budget"] >= rounded, f"at least chunk_round, {rounded}: chunks are cut to it"),
        *range_mistakes(pool, "prefix_cache", not slots or not (host or pool.get("tails", 0)), "none or blocks, with a host tier or tails"),
        *range_mistakes(pool, "prefix_cache", role == "mixed" or not slots, f"none or blocks in a {role} pool"),
        *range_mistakes(pool, "pipeline_depth", not own_depth or pool["pipeline_depth"] == 1, depth),
        *range_mistakes(pool, "ratio_min", pool["ratio_min"] <= pool["ratio_init"], f"at most ratio_init, {pool['ratio_init']:g}"),
        *range_mistakes(pool, "max_context_tokens", context, f"at most the model's {model.max_context_tokens:,}"),
    ]


def _rising(knots: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(knots))


def _type_mistakes(profile: Profile, system: System, model: ModelCard) -> Iterator[Mistake]:
    """Storage and compute types that the model or the system does not have."""
    kv, index = ", ".join(model.kv_entry_bytes), ", ".join(model.index_entry_bytes)
    yield from range_mistakes(profile, "kv_type", profile["kv_type"] in model.kv_entry_bytes, f"{kv}: what {model.name} can be stored in")
    computes = system.flops(profile["compute_type"]) > 0
    yield from range_mistakes(profile, "compute_type", computes, f"a type whose FLOP/s {system.name} gives")
    if model.attention.indexed and "index_type" not in profile.fields:
        yield missing(profile.file, "index_type", DEPLOYMENT["index_type"], f"{model.name} has an indexer")
    elif "index_type" in profile.fields:
        allowed = f"{index}: what {model.name}'s indexer keys can be stored in" if index else f"nothing: {model.name} has no indexer"
        yield from range_mistakes(profile, "index_type", profile["index_type"] in model.index_entry_bytes, allowed)


def _fleet_mistakes(profile: Profile, pools: Mapping[str, Profile], system: System) -> Iterator[Mistake]:
    """What the pools contradict together; told at the last pool where no field is to blame."""
    members = tuple(pools.values())
    last = members[-1]
    gpus = sum(pool["workers"] * pool["gpus_per_worker"] for pool in members)
    whole = gpus <= system.gpus or gpus % system.gpus == 0
    allowed = f"whole systems of {system.gpus} GPUs, or part of one"
    yield from range_mistakes(last, "workers", whole, allowed if len(pools) == 1 else f"{allowed}; the pools have {gpus} together")
    systems = -(-gpus // system.gpus)
    host = sum(pool.get("host_tier_bytes", 0.0) * pool["workers"] * pool["gpus_per_worker"] for pool in members)
    if host:
        tier = next(pool for pool in reversed(members) if "host_tier_bytes" in pool.fields)
        known = system.host_link_bytes_per_s > 0
        yield from range_mistakes(tier, "host_tier_bytes", known, f"0: {system.name} gives no host link")
        room = f"at most the host memory of {system.name}, {system.host_bytes / 1e9:,.0f} GB, over its GPUs"
        yield from range_mistakes(tier, "host_tier_bytes", not system.host_bytes or host <= systems * system.host_bytes, room)
    roles = {pool.get("role", "mixed") for pool in pools.values()}
    for role, other in (("prefill", "decode"), ("decode", "prefill")):
        if role in roles and other not in roles:
            lone = next(pool for pool in pools.values() if pool.get("role", "mixed") == role)
            yield from range_mistakes(lone, "role", False, f"mixed, or a {other} pool beside it")
    if roles >= {"prefill", "decode"}:
        yield from _transfer_mistakes(profile, last, system, gpus)


def _transfer_mistakes(profile: Profile, pool: Profile, system: System, gpus: int) -> Iterator[Mistake]:
    lacking = [key for key in PD_OPTIONS if key not in pool.fields]
    for key in lacking:
        hint = "the engine's preset knows no prefill and decode pools; give it, or only mixed pools"
        yield Mistake(profile.file, key, "nothing", DEPLOYMENT[key].allowed, hint)
    if lacking:
        return
    culprit = "decode_prealloc" if "decode_prealloc" in profile.fields else "kv_transfer"
    early = pool["kv_transfer"] == "end" or pool["decode_prealloc"]
    needs = "with kv_transfer chunk, decode_prealloc true: chunks need blocks to go to"
    yield from range_mistakes(pool, culprit, early, needs)
    link = pool["kv_link"]
    near = link != "scale_up" or gpus <= system.gpus
    yield from range_mistakes(pool, "kv_link", near, f"scale_out or host: {gpus} GPUs are more than the scale-up domain of {system.name}")
    rate = system.link_bytes_per_s(link)
    yield from range_mistakes(pool, "kv_link", rate > 0, f"a link whose rate {system.name} gives")
