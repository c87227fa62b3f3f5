"""Studies beside a comparison: which are asked for and over what, and the points they give. Read from a scenario's ``studies`` section."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from simulator.capacity.document import Section
from simulator.capacity.results import PowerBases
from simulator.units import W_PER_MW

STUDIES = ("frontier", "workload", "power_cap", "limits", "sprint", "cost")
"""What can be asked for; the last two rest on the comparison's own answers and play nothing more."""
ALL = "all"
REACH = 0.1
"""Share by which `limits` gives a system more and less of one resource at a time."""


@dataclass(frozen=True)
class Studies:
    """Which studies, and the values of their axes.

    Attributes
    ----------
    names : tuple of str
        Of `STUDIES`, in its order.
    speeds_tok_s : tuple of float
        Floors of the frontier.
    ttft_s : float or None
        Ceiling of the frontier; None: the loosest of the scenario's cells.
    context, reuse, tool_time : tuple of float
        Factors of the workload study, each beside 1: on prompts, on what they keep of the ones before, and on tool delays.
    caps : tuple of float
        Power caps as shares of the TDP, beside no cap.
    """

    names: tuple[str, ...] = ()
    speeds_tok_s: tuple[float, ...] = (10, 20, 40, 60, 80, 100, 140, 200)
    ttft_s: float | None = None
    context: tuple[float, ...] = (0.5, 2.0)
    reuse: tuple[float, ...] = (0.5, 0.9)
    tool_time: tuple[float, ...] = (0.25, 4.0)
    caps: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)

    def __contains__(self, name: str) -> bool:
        return name in self.names


NO_STUDIES = Studies()


@dataclass(frozen=True)
class StudyPoint:
    """What one deployment holds at one value of a study's axis; ``watts_per_gpu`` is None where it holds nobody."""

    study: str
    axis: str
    value: float
    system: str
    deployment: str
    slo: dict[str, Any]
    gpus: int
    agents: int
    watts_per_gpu: PowerBases | None
    cache_hit: float
    limiter: str
    binding: str
    quality: str

    def per_mw(self, basis: str) -> float:
        """Agents per MW of the GPUs used; 0 where nobody is held."""
        return self.agents / (self.gpus * getattr(self.watts_per_gpu, basis)) * W_PER_MW if self.watts_per_gpu else 0.0

    def __str__(self) -> str:
        return f"{self.deployment}, {self.axis} {self.value:g}: holds {self.agents:,} agents"


@dataclass(frozen=True)
class Moved:
    """Where the SLO breaks with one resource changed (none for ""); None when nothing that the engine reads follows it."""

    deployment: str
    resource: str
    by: float
    agents: float | None

    def __str__(self) -> str:
        what = f"{self.resource.replace('_', ' ')} x {self.by:g}" if self.resource else "as it is"
        said = "nothing follows" if self.agents is None else f"the SLO breaks at {self.agents:,.1f} agents"
        return f"{self.deployment}, {what}: {said}"


Found = StudyPoint | Moved


def point_json(key: str, point: Found) -> str:
    """A part of a study and its key as one line of a journal."""
    return json.dumps({"key": key, **asdict(point)})


def read_points(lines: Iterable[str]) -> dict[str, Found]:
    """The parts of a journal by their keys; lines that are none, as a cut one, are passed over: their parts are sought again."""
    found: dict[str, Found] = {}
    for line in lines:
        try:
            fields = json.loads(line)
            key = fields.pop("key")
            if "resource" in fields:
                found[key] = Moved(**fields)
                continue
            watts = fields["watts_per_gpu"]
            found[key] = replace(StudyPoint(**fields), watts_per_gpu=PowerBases(**watts) if watts else None)
        except (ValueError, TypeError, KeyError):
            continue
    return found


def read_studies(top: Section) -> Studies:
    """The ``studies`` of a scenario: a list of names, or a mapping with ``names`` and the values of axes. Mistakes are noted."""
    value, usual = top.values.get("studies"), Studies()
    if value is None:
        return usual
    if isinstance(value, str | list):
        return Studies(_names(top, "studies", value))
    section = top.section("studies")
    if section is None:
        return usual
    section.only("names", "speeds_tok_s", "ttft_s", "context", "reuse", "tool_time", "caps")
    return Studies(
        names=_names(section, "names", section.values.get("names", ALL)),
        speeds_tok_s=_numbers(section, "speeds_tok_s", usual.speeds_tok_s),
        ttft_s=None if section.values.get("ttft_s") is None else section.number("ttft_s", above=True),
        context=_numbers(section, "context", usual.context),
        reuse=_numbers(section, "reuse", usual.reuse, high=1.0),
        tool_time=_numbers(section, "tool_time", usual.tool_time),
        caps=_numbers(section, "caps", usual.caps, high=1.0),
    )


def _names(section: Section, key: str, value: Any) -> tuple[str, ...]:
    """Names in the order of `STUDIES`; ``all`` for every one."""
    given = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    known = (*STUDIES, ALL)
    wrong = [word for word in given if word not in known] if isinstance(given, list) else [value]
    for word in wrong:
        section.refuse(key, repr(word), ", ".join(known))
    return tuple(name for name in STUDIES if not wrong and (name in given or ALL in given))


def _numbers(section: Section, key: str, usual: tuple[float, ...], high: float = 1e6) -> tuple[float, ...]:
    value = section.values.get(key)
    if value is None:
        return usual
    good = (
        isinstance(value, list) and value and all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= high for v in value)
    )
    if not good:
        section.refuse(key, repr(value), f"a list of numbers > 0 and at most {high:g}")
        return usual
    return tuple(sorted({float(v) for v in value}))
