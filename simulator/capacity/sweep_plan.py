"""What a sweep asks: its points, each a scenario of its own with a key, or the reason why it cannot run.

Inputs are a scenario, with its ``sweep`` block where it has one, and axes from elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.capacity.build import load_profiles, with_cap
from simulator.capacity.document import Document, Section, with_overrides
from simulator.capacity.scenario import Scenario
from simulator.capacity.scenario_file import scenario_document, scenario_of
from simulator.capacity.sweep_axes import Axis, canonical, points_of, read_axes
from simulator.capacity.sweep_key import ground, point_key
from simulator.capacity.sweep_row import reason_of
from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import Deployment
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System

QUESTIONS = ("capacity", "run")
MOST_TOLD = 8
"""Mistakes of a sweep that are printed; its points repeat each other's."""


@dataclass(frozen=True)
class SweepPoint:
    """One point of a sweep.

    Attributes
    ----------
    values : mapping of str to any
        The varied fields.
    key : str
        Digest of all that its answer follows from; empty for one that cannot run.
    reason : str
        Why it cannot run, as its profiles already tell; else empty.
    """

    index: int
    values: Mapping[str, Any]
    scenario: Scenario
    key: str
    reason: str = ""


@dataclass(frozen=True)
class SweepPlan:
    """A whole sweep before it is played.

    Attributes
    ----------
    ask : {"capacity", "run"}
        Whether each point seeks the agents held, or plays the scenario's own number of agents.
    document : mapping
        The scenario as resolved, without its sweep block.
    latin : int
        Draws of the hypercube; 0 for a grid.
    ground : mapping of str to str
        Versions, and a digest of the code and of the profiles that ship.
    """

    name: str
    ask: str
    axes: tuple[Axis, ...]
    latin: int
    seed: int
    points: tuple[SweepPoint, ...]
    document: Mapping[str, Any]
    ground: Mapping[str, str]


def plan_sweep(
    ref: str | Path | Mapping[str, Any],
    axes: Sequence[Axis] = (),
    overrides: Mapping[str, Any] | None = None,
    latin: int | None = None,
) -> SweepPlan:
    """The points of a sweep, every one checked as far as its profiles tell.

    Parameters
    ----------
    ref : str, Path or mapping
        A scenario, as in `load_scenario`.
    axes : sequence of Axis
        Beside those of the scenario's own ``sweep.vary``; one for the same field takes its place.
    overrides : mapping, optional
        Values by dotted path that hold in every point.
    latin : int, optional
        Draws of a Latin hypercube; the scenario's own ``sweep.latin``, or the grid, when left out.

    Raises
    ------
    UserError
        When an axis or the scenario is bad, or no point at all can run.
    """
    document = scenario_document(ref)
    document = with_overrides(document, overrides) if overrides else document
    block, bare = _block(document), _without(document, "sweep")
    own = {axis.field: axis for axis in (*read_axes(block.vary, document.file), *axes)}
    count = block.latin if latin is None else latin
    points = points_of(tuple(own.values()), count, block.seed, document.file)
    scenarios = _scenarios(bare, points, block.ask)
    found = _checked(points, scenarios, block.ask)
    name = scenarios[0].name
    return SweepPlan(name, block.ask, tuple(own.values()), count, block.seed, found, bare.data, ground())


@dataclass(frozen=True)
class _Block:
    """The ``sweep`` block of a scenario."""

    vary: Mapping[str, Any]
    latin: int
    seed: int
    ask: str


def _block(document: Document) -> _Block:
    mistakes: list[Mistake] = []
    section = Section(document, mistakes).section("sweep")
    if section is None:
        section = Section(Document(document.file, {}), mistakes)
    section.only("vary", "latin", "seed", "ask")
    vary = section.section("vary")
    block = _Block(
        {} if vary is None else vary.values, section.count("latin", 0), section.count("seed", 1), section.word("ask", QUESTIONS, "capacity")
    )
    if mistakes:
        raise UserError(mistakes)
    return block


def _without(document: Document, key: str) -> Document:
    return Document(document.file, {name: value for name, value in document.data.items() if name != key}, document.lines)


def _scenarios(document: Document, points: Sequence[Mapping[str, Any]], ask: str) -> list[Scenario]:
    """The scenario of every point; a value that its field cannot take is a mistake of the sweep, told before anything runs."""
    found: list[Scenario] = []
    mistakes: dict[str, Mistake] = {}
    for values in points:
        ordered = dict(sorted(values.items(), key=lambda item: item[0].count(".")))  # a whole part before what changes inside it
        try:
            scenario = scenario_of(with_overrides(document, ordered))
            scenario.one_deployment()
            if ask == "run":
                scenario.agents_or(None)
            elif "agents" in values:
                hint = "capacity seeks the number of agents; to play given numbers: --set sweep.ask=run"
                raise UserError(Mistake(document.file, "agents", "a field that varies", hint=hint))
            found.append(scenario)
        except UserError as error:
            mistakes |= {str(mistake): mistake for mistake in error.mistakes}
    if mistakes:
        raise UserError(list(mistakes.values())[:MOST_TOLD])
    return found


Profiles = tuple[System, ModelCard, Deployment]


def _checked(points: Sequence[Mapping[str, Any]], scenarios: Sequence[Scenario], ask: str) -> tuple[SweepPoint, ...]:
    """Keys and reasons; profiles that several points share are loaded once."""
    kept: dict[str, Profiles | UserError] = {}
    found: list[SweepPoint] = []
    mistakes: dict[str, Mistake] = {}
    for index, (values, scenario) in enumerate(zip(points, scenarios, strict=True)):
        try:
            system, model, deployment = _profiles(scenario, kept)
            key = point_key(scenario, ask, (with_cap(system, scenario), model, deployment))
            found.append(SweepPoint(index, values, scenario, key))
        except UserError as error:
            mistakes |= {str(mistake): mistake for mistake in error.mistakes}
            found.append(SweepPoint(index, values, scenario, "", reason_of(error)))
    if not any(point.key for point in found):
        raise UserError(list(mistakes.values())[:MOST_TOLD])
    return tuple(found)


def _profiles(scenario: Scenario, kept: dict[str, Profiles | UserError]) -> Profiles:
    place = canonical([scenario.system, scenario.model, scenario.deployment])
    if place not in kept:
        try:
            kept[place] = load_profiles(replace(scenario, power_cap_w=None))
        except UserError as error:
            kept[place] = error
    profiles = kept[place]
    if isinstance(profiles, UserError):
        raise profiles
    return profiles
