"""Reads a scenario and says all that is wrong with it. Inputs come from `scenarios/*.yaml`, any YAML file, or a mapping."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.capacity.demand import read_demand
from simulator.capacity.document import Document, Section, read_document, with_overrides
from simulator.capacity.scenario import DEFAULT_SEEDS, Cell, FixedLoad, Phase, Ref, Sampling, Scenario, TrajectoryLoad
from simulator.capacity.search import Resolution
from simulator.capacity.slo import SLO
from simulator.capacity.study import read_studies
from simulator.catalog import find_data, is_there
from simulator.errors import Mistake, UserError
from simulator.units import MOST_AGENTS, MOST_COUNT
from simulator.workload.trajectory import HISTORIES, MARKERS

MOST_SEEDS = MOST_SAMPLES = 1_000
MOST_SCALE = 1_000
"""By how much a workload may be stretched."""


def load_scenario(ref: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Reads a scenario.

    Parameters
    ----------
    ref : str, Path or mapping
        Name of a shipped scenario, path to a YAML file, or the mapping itself.
    overrides : mapping, optional
        Values by dotted path, as in ``{"deployment.workers": 1}``.

    Raises
    ------
    UserError
        With every mistake found.

    Examples
    --------
    >>> from simulator import load_scenario
    >>> asked = load_scenario("capacity_h200", {"slo.speed_tok_s": 40, "deployment.max_seqs": 32})
    >>> str(asked.slo), asked.seeds
    ('P25 speed >= 40 tok/s & P95 TTFT <= 10 s', (1, 2, 3))
    """
    document = scenario_document(ref)
    return scenario_of(with_overrides(document, overrides) if overrides else document)


def scenario_document(ref: str | Path | Mapping[str, Any]) -> Document:
    """The values of a scenario with their lines, before any is looked at; parameters as in `load_scenario`."""
    if isinstance(ref, Mapping):
        return Document("inline", {str(key): value for key, value in ref.items()})
    is_path = isinstance(ref, Path) or str(ref).endswith((".yaml", ".yml"))
    return _beside(read_document(Path(ref) if is_path else find_data("scenarios", str(ref))))


def scenario_of(document: Document) -> Scenario:
    """The scenario that a document holds; raises `UserError` with every mistake found."""
    mistakes: list[Mistake] = []
    scenario = _scenario(Section(document, mistakes), Path(document.file).stem)
    if mistakes:
        raise UserError(mistakes)
    return scenario


def _beside(document: Document) -> Document:
    """Relative paths that exist beside the scenario's file are meant there, not in the working folder."""
    folder = Path(document.file).parent

    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key == "notes" else placed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [placed(item) for item in value]
        is_path = isinstance(value, str) and ("/" in value or value.endswith((".yaml", ".yml", ".jsonl", ".gz", ".xz")))
        return str(folder / value) if is_path and not Path(value).is_absolute() and is_there(folder / value) else value

    return Document(document.file, placed(document.data), document.lines)


TOP_KEYS = (
    "name", "notes", "system", "model", "deployment", "workload", "slo", "agents", "seeds",
    "phase", "search", "power", "uncertainty", "studies", "size", "cells", "sweep",
)  # fmt: skip


def _scenario(top: Section, stem: str) -> Scenario:
    top.only(*TOP_KEYS)
    cells = _cells(top)
    deployment = _ref(top, "deployment")
    if deployment is None and not cells and "deployment" not in top.values:
        if not _pair(top.values, top.values):
            top.refuse("deployment", "nothing", "a name, a path or a mapping", "or give system and model, and it is derived")
        deployment = {}
    agents = top.count("agents", None, low=1, high=MOST_AGENTS)
    return Scenario(
        name=top.word("name", default=stem),
        system=_ref(top, "system"),
        model=_ref(top, "model"),
        deployment=deployment,
        workload=_workload(top),
        slo=_slo(top),
        agents=agents,
        seeds=_seeds(top),
        phase=_phase(top),
        search=_search(top),
        scout_s=_scout_s(top),
        power_cap_w=_power_cap_w(top),
        cells=cells,
        uncertainty=_uncertainty(top),
        studies=read_studies(top),
        size=read_demand(top),
        notes=top.word("notes", default=""),
    )


def _ref(section: Section, key: str) -> Ref | None:
    value = section.values.get(key)
    if value is None or isinstance(value, str | dict):
        return value
    section.refuse(key, repr(value), "a name, a path or a mapping")
    return None


def _workload(top: Section) -> TrajectoryLoad | FixedLoad:
    section = top.section("workload")
    if section is None:
        if top.values.get("workload") is None:
            top.refuse("workload", "nothing", "a mapping with kind: trajectories or fixed")
        return TrajectoryLoad("", None, "front", 1.0, True)
    if section.word("kind", ("trajectories", "fixed")) == "fixed":
        section.only("kind", "isl", "osl", "concurrency", "shared_prefix", "think_s")
        return FixedLoad(
            isl=section.count("isl", low=1),
            osl=section.count("osl", low=1),
            concurrency=section.count("concurrency", 1, low=1, high=MOST_AGENTS),
            shared_prefix=section.count("shared_prefix", 0),
            think_s=section.number("think_s", 0.0),
        )
    section.only("kind", "source", "history", "marker", "tool_delay_scale", "stops", "prompt_scale", "kept_scale")
    return TrajectoryLoad(
        source=section.word("source"),
        history=section.word("history", HISTORIES, None),  # type: ignore[arg-type]
        marker=section.word("marker", MARKERS, "front"),  # type: ignore[arg-type]
        tool_delay_scale=section.number("tool_delay_scale", 1.0, high=MOST_SCALE),
        stops=section.switch("stops", True),
        prompt_scale=section.number("prompt_scale", 1.0, high=MOST_SCALE, above=True),
        kept_scale=section.number("kept_scale", 1.0, 0, 1),
    )


def _slo(parent: Section) -> SLO | None:
    section = parent.section("slo")
    if section is None:
        return None
    if "e2e_speed_tok_s" in section.values:
        section.only("e2e_speed_tok_s", "e2e_percentile")
        return SLO.e2e(section.number("e2e_speed_tok_s", above=True), section.number("e2e_percentile", 25, 0, 100))
    section.only("speed_tok_s", "speed_percentile", "ttft_s", "ttft_percentile")
    return SLO.speed_and_ttft(
        section.number("speed_tok_s", above=True),
        section.number("ttft_s", above=True),
        section.number("speed_percentile", 25, 0, 100),
        section.number("ttft_percentile", 95, 0, 100),
    )


def _seeds(top: Section) -> tuple[int, ...]:
    value = top.values.get("seeds")
    if value is None:
        return DEFAULT_SEEDS
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_SEEDS:
        return tuple(range(1, value + 1))
    listed = isinstance(value, list | tuple) and 1 <= len(value) <= MOST_SEEDS
    if (
        listed
        and all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= MOST_COUNT for s in value)
        and len(set(value)) == len(value)
    ):
        return tuple(value)
    top.refuse("seeds", repr(value), f"how many (1 to {MOST_SEEDS:,}), or a list of different whole numbers from 0 to {MOST_COUNT:,}")
    return DEFAULT_SEEDS


def _phase(top: Section) -> Phase:
    section, usual = top.section("phase"), Phase()
    if section is None:
        return usual
    section.only("ramp_s", "warmup_s", "min_window_s", "min_trajectories", "min_agent_trajectories", "enough_trajectories", "max_s")
    phase = Phase(
        ramp_s=section.number("ramp_s", usual.ramp_s),
        warmup_s=section.number("warmup_s", usual.warmup_s),
        min_window_s=section.number("min_window_s", usual.min_window_s, above=True),
        min_trajectories=section.count("min_trajectories", usual.min_trajectories),
        min_agent_trajectories=section.count("min_agent_trajectories", usual.min_agent_trajectories),
        enough_trajectories=section.count("enough_trajectories", usual.enough_trajectories),
        max_s=section.number("max_s", usual.max_s, above=True),
    )
    least = phase.ramp_s + phase.warmup_s + phase.min_window_s
    if math.isfinite(least) and phase.max_s < least:
        section.refuse("max_s", f"{phase.max_s:g}", f">= {least:g} s, the sum of ramp_s, warmup_s and min_window_s")
    return phase


def _search(top: Section) -> Resolution:
    section, usual = top.section("search"), Resolution()
    if section is None:
        return usual
    section.only("exact_below", "share", "ceiling", "scout_s")
    return Resolution(
        exact_below=section.count("exact_below", usual.exact_below, low=1),
        share=section.number("share", usual.share, 0, 1),
        ceiling=section.count("ceiling", usual.ceiling, low=1, high=MOST_AGENTS),
    )


def _scout_s(top: Section) -> float:
    usual = Scenario.scout_s
    section = top.section("search") if isinstance(top.values.get("search"), dict) else None
    return usual if section is None else section.number("scout_s", usual)


def _power_cap_w(parent: Section) -> float | None:
    section = parent.section("power")
    if section is None:
        return None
    section.only("cap_w")
    return None if section.values.get("cap_w") is None else section.number("cap_w", above=True)


def _uncertainty(top: Section) -> Sampling | None:
    section, usual = top.section("uncertainty"), Sampling()
    if section is None:
        return None
    section.only("samples", "seed", "scout_s")
    return Sampling(
        samples=section.count("samples", usual.samples, low=2, high=MOST_SAMPLES),
        seed=section.count("seed", usual.seed),
        scout_s=section.number("scout_s", usual.scout_s),
    )


def _cells(top: Section) -> tuple[Cell, ...]:
    value = top.values.get("cells")
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(cell, dict) for cell in value):
        top.refuse("cells", repr(value), "a list of {system, deployment, slo, power}")
        return ()
    cells = []
    for index in range(len(value)):
        section = Section(top.document, top.mistakes, ("cells", str(index)))
        section.only("system", "deployment", "slo", "power")
        if "deployment" not in section.values and not _pair(section.values, top.values):
            section.refuse("deployment", "nothing", "a name, a path or a mapping", "or give system and model, and it is derived")
        cells.append(Cell(_ref(section, "system"), _ref(section, "deployment") or {}, _slo(section), _power_cap_w(section)))
    return tuple(cells)


def _pair(cell: Mapping[str, Any], top: Mapping[str, Any]) -> bool:
    """Whether a system and a model are given from which a deployment can be derived."""
    return bool((cell.get("system") or top.get("system")) and top.get("model"))
