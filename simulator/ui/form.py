"""The form: its controls, and a query string turned into a question or into mistakes beside their fields. Input: what a browser sends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from simulator.capacity.demand import Demand
from simulator.capacity.document import parse_overrides
from simulator.capacity.scenario import Scenario
from simulator.capacity.scenario_file import load_scenario
from simulator.catalog import nearest
from simulator.errors import Mistake, UserError
from simulator.hardware.load import load_system
from simulator.hardware.system import System
from simulator.ui.choices import Choice, deployments, loads

SCENARIO = "what_if"
LONGEST = 40
"""Characters of a value; no number or shipped name needs more."""


@dataclass(frozen=True)
class Control:
    """A number of the form: what it changes in the scenario, its label and unit, what stands in it first, and the page's range."""

    name: str
    label: str
    unit: str
    path: str
    first: str
    low: float
    high: float


CONTROLS = (
    Control("speed", "Output speed, at least", "tok/s per agent (P25)", "slo.speed_tok_s", "20", 1, 1000),
    Control("ttft", "TTFT, at most", "s (P95)", "slo.ttft_s", "10", 0.05, 600),
    Control("prompt_scale", "Prompt scale", "× tokens of every prompt", "workload.prompt_scale", "1", 0.05, 10),
    Control("tool_scale", "Tool delay scale", "× time between calls", "workload.tool_delay_scale", "1", 0, 100),
    Control("cap", "Power cap", "W per GPU; empty: the TDP", "power.cap_w", "", 1, 10_000),
    Control("kwh", "Electricity", "USD per kWh", "size.electricity_usd_per_kwh", "0.08", 0, 10),
)
PRICE = "own_usd_per_gpu_hour"
FIRST = {
    "a": "gb300_nvl72_v4pro_20tps_pd", "b": "hgx_h200_v4pro_20tps_sglang", "load": "agentperf_like", "price_a": "", "price_b": "",
    **{control.name: control.first for control in CONTROLS},
}  # fmt: skip
"""Every field and what stands in it first."""


@dataclass(frozen=True)
class Slot:
    """One deployment of a question: its scenario without prices, which no simulation needs, and its system with them."""

    choice: Choice
    label: str
    """The system's title; the deployment's where both are of one system."""
    scenario: Scenario
    system: System
    site: Demand


@dataclass(frozen=True)
class Question:
    """What was asked, and as which changes of the scenario `SCENARIO` the command line asks the same."""

    asked: Scenario
    slots: tuple[Slot, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Filled:
    """The form as it was sent: its values, the mistakes by field (of the whole under the empty name), and the question if none."""

    values: Mapping[str, str]
    mistakes: Mapping[str, tuple[str, ...]]
    question: Question | None


def read_form(query: Mapping[str, str]) -> Filled:
    """The form that a query fills; fields that it leaves out stand as first, a second deployment only where nothing was sent."""
    first = FIRST | {"b": ""} if query else FIRST
    values = {name: query.get(name, first[name]).strip() for name in FIRST}
    mistakes: dict[str, list[str]] = {}

    def note(name: str, mistake: Mistake) -> None:
        mistakes.setdefault(name, []).append(_words(mistake))

    for name in query:
        if name not in FIRST:
            note("", Mistake("", "", f"an unknown field {name[:LONGEST]!r}", ", ".join(FIRST), nearest(name[:LONGEST], list(FIRST))))
    _check_words(values, note)
    question = None if mistakes else _question(values, note)
    for control in CONTROLS:
        number = _number(values[control.name])
        if control.name not in mistakes and number is not None and not control.low <= number <= control.high:
            note(control.name, Mistake("", "", values[control.name], f"on this page from {control.low:g} to {control.high:g}"))
    return Filled(values, {name: tuple(texts) for name, texts in mistakes.items()}, None if mistakes else question)


def _words(mistake: Mistake) -> str:
    """A mistake as the command line says it, without the place, which the page shows by where the words stand."""
    return str(replace(mistake, file="", field="", line=0)).removeprefix("; ")


Note = Callable[[str, Mistake], None]


def _check_words(values: Mapping[str, str], note: Note) -> None:
    """Lengths, and names of lists: without them there is no question to look at."""
    for name, value in values.items():
        if len(value) > LONGEST:
            note(name, Mistake("", "", f"{len(value):,} characters", f"at most {LONGEST}"))
    for name, known in (("a", deployments()), ("b", deployments()), ("load", loads())):
        value = values[name]
        if len(value) <= LONGEST and value not in known and not (name == "b" and not value):
            note(name, Mistake("", "", repr(value), "a name of the list", nearest(value, list(known))))
    if values["a"] == values["b"] != "":
        note("b", Mistake("", "", "the first deployment again", "another deployment, or none"))


def _number(text: str) -> float | None:
    """The number that YAML reads in a text; None for anything else, which the scenario's reader tells."""
    try:
        value = yaml.safe_load(text) if len(text) <= LONGEST else None
    except yaml.YAMLError:
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _question(values: Mapping[str, str], note: Note) -> Question | None:
    """The question, by way of the command line's own changes, so that both are one; what is wrong is noted at its field."""
    slots = [(deployments()[values[key]], values[f"price_{key}"], _system(key, values, note)) for key in ("a", "b") if values[key]]
    for control in CONTROLS:
        if not values[control.name] and control.first:
            note(control.name, Mistake("", "", "nothing", "a number"))
    if any(system is None for _, _, system in slots):
        return None
    cells = ", ".join(f"{{system: {_system_words(choice, price)}, deployment: {choice.name}}}" for choice, price, _ in slots)
    changes = [f"cells=[{cells}]", *(f"{c.path}={values[c.name]}" for c in CONTROLS if values[c.name] not in ("", c.first))]
    changes += [f"workload.source={values['load']}"] if values["load"] != FIRST["load"] else []
    try:
        asked = load_scenario(SCENARIO, parse_overrides(changes))
    except UserError as error:
        paths = {control.path: control.name for control in CONTROLS}
        for mistake in error.mistakes:
            note(paths.get(mistake.field.removesuffix(".value"), ""), mistake)
        return None
    found = []
    for (choice, _, system), cell in zip(slots, asked.cell_scenarios(), strict=True):
        assert system is not None
        cap_w = asked.power_cap_w
        if cap_w is not None and not system.idle_w <= cap_w <= system.tdp_w:
            allowed = f"from {system.idle_w:g} W, {system.name}'s idle draw, to {system.tdp_w:g} W, its TDP"
            note("cap", Mistake("", "", f"{cap_w:g}", allowed, "left out: the TDP"))
        twice = len({chosen.system for chosen, _, _ in slots}) < len(slots)
        found.append(
            Slot(
                choice,
                choice.title if twice else choice.system_title,
                replace(cell, system=choice.system, size=None),
                system,
                asked.size or Demand(),
            )
        )
    return Question(asked, tuple(found), tuple(changes))


def _system_words(choice: Choice, price: str) -> str:
    return f"{{extends: {choice.system}, {PRICE}: {price}}}" if price else choice.system


def _system(key: str, values: Mapping[str, str], note: Note) -> System | None:
    """The system of a list with the price given beside it."""
    choice, price = deployments()[values[key]], values[f"price_{key}"]
    number: Any = _number(price)
    if price and number is None:
        note(f"price_{key}", Mistake("", "", repr(price), "a number >= 0 USD per GPU-hour", "empty: the profile's"))
        return None
    try:
        return load_system({"extends": choice.system, PRICE: number} if price else choice.system)
    except UserError as error:
        for mistake in error.mistakes:
            note(f"price_{key}", mistake)
        return None
