"""A published replay of agentic sessions beside ours: steps by class, tokens, cache hits, waits. Inputs: a scenario, `replays.csv`."""

import csv
from dataclasses import dataclass

import numpy as np

from simulator.capacity.build import build_world, prepare
from simulator.capacity.metrics import measure
from simulator.capacity.scenario import Scenario
from simulator.catalog import folder
from simulator.engine.kernel import simulate_kernel
from simulator.engine.world import EVENT_COLUMNS, EVENT_RANK, EVENT_STEP, Output, World
from simulator.units import PS_PER_S

CLASSES = ("prefill", "decode", "mixed")
"""Steps in which all work is prompts, all is decoding, or both are there."""


@dataclass(frozen=True)
class Figure:
    """One figure of a replay: as published and as simulated."""

    quantity: str
    unit: str
    published: float
    simulated: float


def published(run: str) -> dict[str, tuple[float, str]]:
    """Figures of a run of `hardware_profiles/evidence/replays.csv`: quantity -> value and unit."""
    with (folder("evidence") / "replays.csv").open(newline="", encoding="utf-8") as file:
        return {row["quantity"]: (float(row["value"]), row["unit"]) for row in csv.DictReader(file) if row["run"] == run}


def side_by_side(run: str, scenario: Scenario) -> list[Figure]:
    """Every published figure of a run that the simulation has too."""
    mine = simulated(scenario)
    return [Figure(key, unit, value, mine[key]) for key, (value, unit) in published(run).items() if key in mine]


def simulated(scenario: Scenario) -> dict[str, float]:
    """The figures of one phase, over its steady window."""
    prepared = prepare(scenario, scenario.seeds[0])
    world = build_world(prepared, scenario.agents_or(None))
    output = simulate_kernel(world, events=True)
    window = measure(world, output)
    itl_ms = 1e3 / window.speed_tok_s
    calls = window.ttft_s.size
    found = {
        "output_tok_s": window.finished_output_tokens / window.window_s,
        "logical_tok_s": window.finished_tokens / window.window_s,
        "ttft_mean": 1e3 * float(window.ttft_s.mean()),
        **{f"ttft_p{p}": 1e3 * float(np.percentile(window.ttft_s, p)) for p in (50, 90, 95)},
        "itl_mean": float(itl_ms.mean()),
        "itl_p90": float(np.percentile(itl_ms, 90)),
        "requests": float(calls),
        "prompt_mean": (window.finished_tokens - window.finished_output_tokens) / calls,
        "output_mean": window.finished_output_tokens / calls,
        "cache_hit": window.cached_tokens / window.prompt_tokens,
        "cache_hit_possible": prepared.cache_hit_possible,
    }
    steps = steps_by_class(world, output)
    found |= {f"step_{kind}_p{p}": float(np.percentile(ms, p)) for kind, ms in steps.items() if ms.size for p in (50, 90)}
    return found


def steps_by_class(world: World, output: Output) -> dict[str, np.ndarray]:
    """Milliseconds of the steps of the window, by what all ranks of the worker did in them together."""
    event = dict(zip(EVENT_COLUMNS, output.events.T, strict=True))
    chosen = (event["time_ps"] >= world.stop.window_ps) & np.isin(event["kind"], (EVENT_RANK, EVENT_STEP))
    kind, decoding, prompt = event["kind"][chosen], event["a"][chosen], event["b"][chosen]
    # The log tells the ranks of a step, then the step (or the other way round): steps are numbered by their own rows.
    is_step = kind == EVENT_STEP
    place = np.cumsum(is_step) - (is_step if kind[0] == EVENT_RANK else 1)
    count = int(is_step.sum())
    decodes = np.bincount(place[~is_step], decoding[~is_step], count)[:count]
    prompts = np.bincount(place[~is_step], prompt[~is_step], count)[:count]
    ms = decoding[is_step] / (PS_PER_S / 1e3)
    return {
        "prefill": ms[(prompts > 0) & (decodes == 0)],
        "decode": ms[(prompts == 0) & (decodes > 0)],
        "mixed": ms[(prompts > 0) & (decodes > 0)],
    }
