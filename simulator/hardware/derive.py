"""What a deployment leaves out, derived from its system and model: the smallest worker that fits, usual budgets, the law of the roofline.

Inputs are a deployment's own fields, a system and a model card. Every derived field tells its rule as its source, and none but a law
fitted to its own stack is better than ``estimated``; docs/laws.md lists the rules.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulator.catalog import names
from simulator.document import INLINE
from simulator.errors import UserError
from simulator.hardware.attention_compressed import CompressedAttention
from simulator.hardware.efficiency import ANY, efficiency_of
from simulator.hardware.fit import COLLECTIVE_BYTES, RESERVE_BYTES, smallest_layout
from simulator.hardware.model_card import ModelCard
from simulator.hardware.preset import Preset
from simulator.hardware.profile import Profile, parse
from simulator.hardware.quality import Field, worst_quality
from simulator.hardware.roofline import Layout, compute_type_of, law_defaults
from simulator.hardware.schemas import DEPLOYMENT, LAW, LAYOUT, POOL
from simulator.hardware.served import PREFILL, Served, served_over
from simulator.hardware.spec import missing
from simulator.hardware.system import System
from simulator.hardware.unknown import known
from simulator.hardware.weights import CASTS, weight_bits

STREAMING = ("routing_skew", "hbm_efficiency", "kv_efficiency")
"""Coefficients that turn bytes into time; a law that gives the times themselves (``context_token_s``) has none."""

GIB = 2**30
BUDGETS = ((160, 16_384), (70, 8_192), (0, 2_048))
"""GiB of a GPU from which vLLM 0.32.0's API server takes so many tokens a step (`engine/arg_utils.py`)."""
DEFAULT = "vLLM 0.32.0's default of its API server"

CHUNKS = ((160, 16_384), (60, 8_192), (35, 4_096), (0, 2_048))
"""GiB of a GPU from which SGLang 0.5.15 takes so many (`server_args.py`, `_handle_gpu_memory_settings`), all ranks together."""

NEEDED = (
    "workers", "gpus_per_worker", "attention", "ranks", "ep", "block_tokens", "kv_pool_tokens", "token_budget", "max_seqs",
    "max_context_tokens", "context_token_s", *(key for key in LAW if key not in STREAMING),
)  # fmt: skip
"""What a deployment must give that is otherwise derived from system and model."""


@dataclass(frozen=True)
class Rule:
    """A derived value and the sentence that says why."""

    value: Any
    source: str
    quality: str = "estimated"


def with_engine(profile: Profile) -> Profile:
    """The deployment with an engine, where it names none by itself and none that it imitates."""
    named = {"engine", "imitates"} & set(profile.fields)
    return profile if named else _with(profile, {"engine": Rule("vllm", "derived: the preset that was checked against real schedules")})


def completed(profile: Profile, preset: Preset, system: System, model: ModelCard, others: Iterable[System] = ()) -> Profile:
    """The deployment with all that it leaves out; its pools, where it lists any, give their layouts themselves.

    Raises
    ------
    UserError
        When it gives no layout and no worker of the system holds the model.
    """
    if not known(system, model):
        return _with_measured(profile)
    free = not profile.pools and not set(LAYOUT) <= set(profile.fields) | {"workers"}
    whole = _with(_with(profile, _types(profile, system, model)), _budgets(system, model) | (_pool_share(model) if free else {}))
    if free:
        layout = smallest_layout(whole, system, model, others)
        source = f"derived: {layout} is the smallest worker whose weights leave room for a useful KV pool"
        whole = _with(whole, {key: Rule(value, source) for key, value in layout.fields.items()})
    reserve = Rule(RESERVE_BYTES + COLLECTIVE_BYTES, "other_mem and nccl_mem of aiconfigurator's system files (0.12.0)")
    whole = _with(whole, {"reserve_bytes": reserve})
    return _titled(_with_laws(_with_step_budgets(whole, preset, system), system, model), system, model)


def _with_measured(profile: Profile) -> Profile:
    """A deployment on something unknown: only what follows from no system and no model is derived. Raises `UserError`."""
    views = [replace(profile, fields={**profile.fields, **pool.fields}) for pool in profile.pools.values()] or [profile]
    lacks = [key for key in NEEDED if any(key not in view.fields for view in views)]
    if lacks:
        reason = "system or model is unknown, so nothing can be derived from it"
        raise UserError([missing(profile.file, key, DEPLOYMENT[key], reason) for key in lacks])
    return _with(profile, _whoever())


def _with(profile: Profile, rules: Mapping[str, Rule]) -> Profile:
    """The profile with the fields that neither it nor one of its pools gives."""
    given = set(profile.fields).union(*(pool.fields for pool in profile.pools.values()))
    fresh = {key: _field(profile, key, rule) for key, rule in rules.items() if key not in given}
    fields = {**profile.fields, **fresh}
    return replace(profile, fields={key: fields[key] for key in DEPLOYMENT if key in fields})


def _field(profile: Profile, key: str, rule: Rule, place: str = "") -> Field:
    return Field(place + key, rule.value, DEPLOYMENT[key].unit, rule.source, rule.quality, "", profile.file)


def _types(profile: Profile, system: System, model: ModelCard) -> dict[str, Rule]:
    """How weights and KV are stored, and what FLOPs are counted against."""
    wide = min(model.dense_param_bytes, model.expert_param_bytes or model.dense_param_bytes) >= CASTS["bf16"]
    stored = Rule("stored", "derived: the checkpoint is served as stored")
    weights = Rule("fp8", "derived: a BF16 checkpoint is served in FP8") if wide else stored
    compute = compute_type_of(system, model, profile.get("weight_type", weights.value))
    rules = {
        "weight_type": weights,
        "compute_type": Rule(compute, "derived: the BF16 peak for BF16 weights, and for 4-bit ones without FP4 tensor cores; else FP8"),
        "kv_type": Rule(next(iter(model.kv_entry_bytes)), "derived: FP8, in the packed layout of the model's kernels where there is one"),
    }
    if model.index_entry_bytes:
        index = "fp8" if "fp8" in model.index_entry_bytes else next(iter(model.index_entry_bytes))
        rules["index_type"] = Rule(index, "derived: FP8 where the model's indexer keys may be so")
    return rules


def _budgets(system: System, model: ModelCard) -> dict[str, Rule]:
    """What the engine's users leave at its defaults, and the SLO for who gives none."""
    least, _ = _default(BUDGETS, system)
    return {
        "memory_share": Rule(0.9, "usual share of HBM for weights and KV; vLLM 0.32.0's default is 0.92", "assumed"),
        "block_tokens": Rule(64 if model.attention.kv_heads == 1 else 16, "vLLM default, and 64 as the MLA kernels have it"),
        "max_seqs": Rule(1024 if least else 256, DEFAULT + (" on GPUs of 70 GiB and more (max_num_seqs)" if least else " on smaller GPUs")),
        "max_context_tokens": Rule(model.max_context_tokens, "vLLM default: the model's own"),
        **_whoever(),
    }


def _default(table: tuple[tuple[int, int], ...], system: System) -> tuple[int, int]:
    """The row of a table of defaults that a system's GPUs are in: GiB from which it holds, and tokens."""
    return next(row for row in table if system.hbm_bytes >= row[0] * GIB)


def _with_step_budgets(profile: Profile, preset: Preset, system: System) -> Profile:
    """The profile with the token budget of every pool's ranks that neither the pool nor the deployment gives."""
    if "token_budget" in profile.fields:
        return profile
    if not profile.pools:
        return _with(profile, {"token_budget": _step_budget(preset, system, profile["ranks"])})
    pools = {}
    for name, pool in profile.pools.items():
        rule = _step_budget(preset, system, pool.fields["ranks"].value if "ranks" in pool.fields else profile["ranks"])
        own = {"token_budget": _field(profile, "token_budget", rule, f"pools.{name}.")}
        pools[name] = replace(pool, fields={**own, **pool.fields})
    return replace(profile, pools=pools)


def _step_budget(preset: Preset, system: System, ranks: int) -> Rule:
    """Query tokens of a rank in one step at the engine's defaults: SGLang's for SGLang, vLLM's for all others."""
    sglang = preset.imitates.partition("@")[0] == "sglang"
    whose, knob = ("SGLang 0.5.15's default", "chunked_prefill_size") if sglang else (DEFAULT, "max_num_batched_tokens")
    least, tokens = _default(CHUNKS if sglang else BUDGETS, system)
    source = f"{whose} on GPUs of {least} GiB and more ({knob})" if least else f"{whose} on smaller GPUs ({knob})"
    own = preset.budget_of_rank(tokens, ranks)
    return Rule(own, source if own == tokens else f"{source}, {tokens:,}, which {ranks} ranks share")


def _whoever() -> dict[str, Rule]:
    """What depends on no system and no model."""
    tier = "the lowest AA-AgentPerf tier of DeepSeek V4 Pro, for who gives no SLO"
    return {
        "speed_floor_tok_s": Rule(20, tier, "assumed"),
        "ttft_ceiling_s": Rule(10, tier, "assumed"),
        "workers": Rule(1, "derived: one worker; figures per GPU do not need more"),
        "drafts": Rule(0, "derived: no drafts unless given"),
        "router": Rule("session_affinity", "derived: conversations stay where their cache is"),
    }


def _pool_share(model: ModelCard) -> dict[str, Rule]:
    """Real KV pools of DeepSeek V4 are far below memory arithmetic."""
    if not isinstance(model.attention, CompressedAttention):
        return {}
    return {"kv_pool_share": Rule(0.41, "pool that vLLM reported on 8xB200 over memory arithmetic, for DeepSeek V4 Pro")}


def _with_laws(profile: Profile, system: System, model: ModelCard) -> Profile:
    """The profile with the step-time coefficients that a pool, or the deployment for it, does not give."""
    if not profile.pools:
        return replace(profile, fields={**profile.fields, **_law(profile, profile, system, model, "")})
    pools = {}
    for name, pool in profile.pools.items():
        view = replace(profile, fields={**profile.fields, **pool.fields})
        pools[name] = replace(pool, fields={**pool.fields, **_law(profile, view, system, model, f"pools.{name}.")})
    return replace(profile, pools=pools)


def _law(profile: Profile, view: Profile, system: System, model: ModelCard, place: str) -> dict[str, Field]:
    measured = STREAMING if "context_token_s" in view.fields else ()
    lacking = [key for key in LAW if key not in view.fields and key not in measured]
    if not lacking:
        return {}
    layout = Layout(view["attention"], view["gpus_per_worker"], view["compute_type"])
    engine = view.get("engine", view.get("imitates", "vllm").partition("@")[0])
    law, fitted = law_defaults(system, model, layout, engine=engine, weight_type=view["weight_type"])
    if set(lacking) == set(LAW) and (tables := operator_law(system, model, layout, engine, view["weight_type"])):
        return {key: _field(profile, key, rule, place) for key, rule in tables.items()}
    if law.prefill_expert_s and "prefill_token_s" in lacking and "prefill_expert_s" not in view.fields:
        lacking.append("prefill_expert_s")  # a part of the derived one; of a law that is given nobody said it
    return {key: _field(profile, key, Rule(getattr(law, key), fitted.source, fitted.quality), place) for key in lacking}


def operator_law(system: System, model: ModelCard, layout: Layout, engine: str, weight_type: str) -> dict[str, Rule]:
    """The law from operator tables of this worker, lengthened by what the engine takes over them (`served.py`); empty where none ships, or
    where served rows of the model tell of its stack.

    Components of the model itself stand before served rows of other models.
    """
    bits = weight_bits(model, weight_type)
    if efficiency_of(system.name, engine, model.name, bits).model != ANY:
        return {}
    tables, over = _table_law(system, model, layout, engine, weight_type), served_over(engine, model.name)
    rules = {key: Rule(field.value, field.source, field.quality) for key, field in tables.items()}
    if over is not None:
        rules |= {key: _lengthened(rules[key], over) for key in PREFILL if key in rules}
    return rules


def _lengthened(rule: Rule, over: Served) -> Rule:
    """Times what an engine takes over its operators: a factor of other rows too, so estimated at best."""
    return Rule(rule.value * over.prefill, f"{rule.source}; {over.source}", worst_quality([rule.quality, "estimated"]))


def _table_law(system: System, model: ModelCard, layout: Layout, engine: str, weight_type: str) -> dict[str, Field]:
    """The law of the deployment that `profiles derive` wrote for this worker, found by its name; empty without one."""
    shape = f"{layout.attention.replace('dp', 'dep')}{layout.gpus}"
    for name in (f"{system.name}_{model.name}_{shape}_{engine}", f"{system.name}_{model.name}_{weight_type}_{shape}_{engine}"):
        if name in names("deployments"):
            found = parse(name, DEPLOYMENT, "deployments", None, POOL)
            if found.get("weight_type", "stored") == weight_type:
                return {key: found.fields[key] for key in (*LAW, "prefill_expert_s") if key in found.fields}
    return {}


def _titled(profile: Profile, system: System, model: ModelCard) -> Profile:
    """A name for an inline deployment that has none."""
    if profile.name != INLINE:
        return profile
    return replace(profile, name=f"{system.name}_{model.name}", title=f"{model.title} on {system.title}, derived layout")
