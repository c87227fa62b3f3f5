"""Builds worlds: a scenario and a seed become arrays once, then each agent count is a small change. Inputs come from a scenario."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.context import context_limit, tightened
from simulator.capacity.fleet import engine_fleet, engine_pools
from simulator.capacity.loads import compiled_load, trajectories_of
from simulator.capacity.scenario import Scenario
from simulator.capacity.slo import SLO
from simulator.engine.bounds import refuse_beyond_64_bits
from simulator.engine.world import Pool, Stop, World
from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.model_card import ModelCard
from simulator.hardware.quality import worst_quality
from simulator.hardware.spread import Change
from simulator.hardware.system import System
from simulator.units import to_ps
from simulator.workload.arrays import Calls, PrefixTree, Threads
from simulator.workload.trajectory import TrajectorySet


@dataclass(frozen=True)
class Prepared:
    """All of a scenario and a seed that does not depend on the agent count.

    Attributes
    ----------
    pools : tuple of Pool
        Those of the deployment, in its order, as the engine reads them.
    cache_hit_possible : float
        Share of the prompt tokens that an infinite cache would serve, over one play of each trajectory.
    cut_trajectories : int
        Trajectories that end early because a later call does not fit the context limit.
    quality : str
        Worst quality of the profile fields that the answer rests on.
    """

    scenario: Scenario
    seed: int
    system: System
    model: ModelCard
    deployment: Deployment
    slo: SLO
    calls: Calls
    threads: Threads
    tree: PrefixTree
    pools: tuple[Pool, ...]
    cache_hit_possible: float
    cut_trajectories: int
    quality: str
    notes: tuple[str, ...]


def prepare(scenario: Scenario, seed: int, change: Change | None = None) -> Prepared:
    """Loads the profiles, with every field changed, and compiles the load of one scenario for one seed.

    Raises
    ------
    UserError
        When a profile or the trajectories are bad, or no call fits the KV pool of a rank.
    """
    return prepare_on(scenario, seed, *load_profiles(scenario, change))


def prepare_on(scenario: Scenario, seed: int, system: System, model: ModelCard, deployment: Deployment) -> Prepared:
    """Compiles the load of one scenario for one seed before machines that are loaded already."""
    trajectories = trajectories_of(scenario.workload)
    limit, limit_from = context_limit(deployment)
    while True:
        prepared = _compiled(scenario, seed, system, model, deployment, trajectories, limit, limit_from)
        # With drafts a call that is unlucky with them holds more blocks than its tokens fill (engine/growth.py).
        lower = tightened(limit, build_world(prepared, 1), deployment)
        if lower is None:
            return prepared
        limit, limit_from = lower


def load_profiles(scenario: Scenario, change: Change | None = None) -> tuple[System, ModelCard, Deployment]:
    """What serves: the scenario's own system and model, or those its deployment names."""
    system = None if scenario.system is None else load_system(scenario.system, change)
    model = None if scenario.model is None else load_model(scenario.model, change)
    deployment = load_deployment(scenario.one_deployment(), system=system, model=model, change=change)
    system = with_cap(system or load_system(deployment.system, change), scenario)
    return system, model or load_model(deployment.model, change), deployment


def tier_of(deployment: Deployment) -> SLO:
    """The SLO that a deployment was shaped for, which stands where a scenario gives none."""
    return SLO.speed_and_ttft(deployment.speed_floor_tok_s, deployment.ttft_ceiling_s)


def with_cap(system: System, scenario: Scenario) -> System:
    """The system under the scenario's power cap, which cannot lie below what an idle accelerator draws or above its TDP."""
    cap_w = scenario.power_cap_w
    if cap_w is not None and not system.idle_w <= cap_w <= system.tdp_w:
        allowed = f"from {system.idle_w:g} W, {system.name}'s idle draw, to {system.tdp_w:g} W, its TDP; left out: the TDP"
        raise UserError(Mistake(scenario.name, "power.cap_w", f"{cap_w:g}", allowed))
    return replace(system, cap_w=cap_w)


def _compiled(
    scenario: Scenario,
    seed: int,
    system: System,
    model: ModelCard,
    deployment: Deployment,
    trajectories: TrajectorySet,
    limit: int,
    limit_from: str,
) -> Prepared:
    load = scenario.workload
    compiled = compiled_load(load, deployment, seed, limit)
    notes = list(_mismatches(scenario, deployment, system, model))
    if compiled.cut_trajectories:
        cut = f"{compiled.cut_trajectories} of {len(trajectories.trajectories)} trajectories end early"
        notes.append(f"{cut}: a later call does not fit {limit_from}")
    return Prepared(
        scenario=scenario,
        seed=seed,
        system=system,
        model=model,
        deployment=deployment,
        slo=scenario.slo or tier_of(deployment),
        calls=compiled.calls._replace(tool_ps=_scaled(compiled.calls.tool_ps, load.tool_delay_scale)),
        threads=compiled.threads._replace(delay_ps=_scaled(compiled.threads.delay_ps, load.tool_delay_scale)),
        tree=compiled.tree,
        pools=engine_pools(system, model, deployment),
        cache_hit_possible=compiled.reusable_block_tokens / compiled.prompt_tokens if _caches(deployment) else 0.0,
        cut_trajectories=compiled.cut_trajectories,
        quality=worst_quality((deployment.quality, trajectories.provenance.get("quality", "datasheet"), *cap_quality(system))),
        notes=tuple(notes),
    )


def served_by(prepared: Prepared, system: System, model: ModelCard, deployment: Deployment) -> Prepared:
    """The same compiled load before other machines, which must leave its calls as they are: accepted lengths and KV memory do not."""
    return replace(prepared, system=system, model=model, deployment=deployment, pools=engine_pools(system, model, deployment))


def _scaled(times_ps: NDArray[np.int64], factor: float) -> NDArray[np.int64]:
    scaled: NDArray[np.int64] = np.rint(times_ps * factor).astype(np.int64)
    return scaled


def _caches(deployment: Deployment) -> bool:
    """Whether some pool that prefills calls keeps their prefixes."""
    return any(pool.prefix_cache != "none" for pool in deployment.pools if pool.role != "decode")


def _mismatches(scenario: Scenario, deployment: Deployment, system: System, model: ModelCard) -> Iterator[str]:
    """What makes the machines others than their files describe."""
    if system.cap_w is not None:
        yield f"power capped at {system.cap_w:g} of {system.tdp_w:g} W per GPU; how much that slows steps is assumed (docs/power.md)"
    for kind, ours, theirs in (("system", system.name, deployment.system), ("model", model.name, deployment.model)):
        if ours != theirs:
            yield f"deployment {deployment.name} was written for {kind} {theirs} and runs with {ours}"
    ref = scenario.deployment
    if isinstance(ref, Mapping) and "extends" in ref:
        changed = ", ".join(f"{key} = {value}" for key, value in _flat(ref) if key not in ("extends", "name", "notes"))
        yield f"deployment {ref['extends']} with {changed}"
    elif isinstance(ref, Mapping):
        yield f"deployment {deployment.name} is derived from its system and model where it says nothing itself; docs/laws.md tells how"


def cap_quality(system: System) -> tuple[str, ...]:
    """What clocks do under a power cap is assumed, so an answer with one is."""
    return ("assumed",) if system.cap_w is not None and system.cap_w < system.tdp_w else ()


def _flat(mapping: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The changes of an inline deployment, those of pools under their dotted names; whole fields by their values."""
    for key, value in mapping.items():
        if isinstance(value, Mapping) and "value" not in value:
            yield from _flat(value, f"{place}{key}.")
        else:
            yield place + key, value["value"] if isinstance(value, Mapping) else value


def spread_evenly(span_ps: int, count: int) -> NDArray[np.int64]:
    """``span_ps * i // count`` for ``i`` of 0 to ``count - 1``, with no product beyond 64 bits."""
    number = np.arange(count, dtype=np.int64)
    whole, rest = divmod(span_ps, count)
    return number * whole + number * rest // count


def build_world(prepared: Prepared, agents: int) -> World:
    """The world of one phase.

    Agents start one after another over ``ramp_s`` in equal steps, agent ``a`` at ``ramp_s * a / agents``; the window opens
    ``warmup_s`` after the ramp. The seed orders the trajectories and draws the accepted lengths of drafts.
    """
    deployment, phase = prepared.deployment, prepared.scenario.phase
    trajectories = len(prepared.calls.first) - 1
    fleet = engine_fleet(
        deployment,
        prepared.pools,
        start_ps=spread_evenly(to_ps(phase.ramp_s), agents),
        order=np.random.default_rng([prepared.seed, 0]).permutation(trajectories).astype(np.int64),
    )
    plenty = 0 < phase.enough_trajectories < agents * phase.min_agent_trajectories
    window_ps, min_window_ps = to_ps(phase.ramp_s + phase.warmup_s), to_ps(phase.min_window_s)
    min_plays = phase.enough_trajectories if plenty else phase.min_trajectories
    min_agent_plays = 0 if plenty else phase.min_agent_trajectories
    # Engines look at the minima when a play ends; without a minimum of plays the window is to end by the clock.
    max_ps = to_ps(phase.max_s) if min_plays or min_agent_plays else min(to_ps(phase.max_s), window_ps + min_window_ps)
    stop = Stop(
        window_ps=window_ps,
        min_window_ps=min_window_ps,
        min_plays=min_plays,
        min_agent_plays=min_agent_plays,
        max_ps=max_ps,
        max_plays_per_agent=0,
    )
    world = World(prepared.calls, prepared.threads, prepared.tree, fleet, stop)
    refuse_beyond_64_bits(world, prepared.scenario.name)
    return world
