"""The search of one seed: phases of a scenario at one agent count after another. Inputs come from a scenario."""

from dataclasses import dataclass, replace

import numpy as np

from simulator.capacity.build import Prepared, prepare
from simulator.capacity.metrics import is_complete, steady_s, window_of
from simulator.capacity.point import Progress, Trial, engine_words, summarise
from simulator.capacity.results import Point, Summary
from simulator.capacity.scenario import Phase, Scenario
from simulator.capacity.search import NO_CURVE, Bracket, Curve, Resolution, search, search_around, search_near
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT
from simulator.hardware.badge import NO_BADGE, Badge, badge

BEYOND = 1.25
"""How far beyond the first broken count the first seed looks once more, to see whether the SLO holds again there."""
SCOUT_SHARE = 0.04
"""Scouts need not find the edge more finely than their short windows tell it."""


@dataclass(frozen=True)
class SeedAnswer:
    """What the search of one seed found."""

    seed: int
    bracket: Bracket
    points: tuple[Point, ...]
    held: Summary | None
    broken: Summary | None
    binding: str
    system: str
    model: str
    deployment: str
    gpus: int
    slo: SLO
    quality: str
    engine: str = ""
    badge: Badge = NO_BADGE

    def __str__(self) -> str:
        return f"{self.deployment} seed {self.seed}: holds {self.bracket.held} agents ({len(self.points)} phases)"


class Phases:
    """The phases of one seed's search: plays each agent count once, and keeps those nearest to the edge of the SLO.

    One that has clearly passed is put aside: it steers the search, and is finished when it turns out to be the answer.
    """

    def __init__(self, prepared: Prepared, progress: Progress | None, scout: bool = False) -> None:
        self.prepared, self.progress, self.scout = prepared, progress, scout
        self.margins: dict[int, float] = {}
        self.points: dict[int, Point] = {}
        self.trials: dict[int, Trial] = {}

    def __call__(self, agents: int) -> float:
        """Margin of the SLO with this many agents; 0 for a phase that met its hard end, which does not count."""
        if agents not in self.margins:
            self._play(agents, to_the_end=False)
        return self.margins[agents]

    def finish(self, agents: int) -> bool:
        """Whether the phase with this many agents holds to its end, and can be read; one that is new or let go is played from its start."""
        trial = self.trials.get(agents)
        if trial is None or trial.passed:
            self._play(agents, to_the_end=True)
        return self.points[agents].held

    def summary(self, agents: int) -> Summary | None:
        """Everything people read off a phase that is kept; None for others, and where no request finished."""
        trial = self.trials.get(agents)
        window = window_of(trial.world, trial.output, trial.outlook.requests) if trial else None
        return summarise(self.prepared, window, (self.prepared.seed,)) if window and window.ttft_s.size else None

    def _play(self, agents: int, to_the_end: bool) -> None:
        trial = self.trials[agents] = self.trials.get(agents) or Trial(self.prepared, agents)
        trial.play(to_the_end)
        verdict, complete = trial.verdict, is_complete(trial.world.stop, trial.output)
        self.margins[agents] = verdict.margins[verdict.binding] if complete else 0.0
        self.points[agents] = _point(self.prepared, agents, trial, verdict.held and complete, self.scout)
        self._forget()
        if self.progress:
            self.progress(_line(self.prepared, self.points[agents], trial.passed))

    def _forget(self) -> None:
        """Calls are many, and tables of what can go on large: only the counts nearest to the edge on either side can still be asked for."""
        held = max((p.agents for p in self.points.values() if p.held), default=0)
        broken = min((p.agents for p in self.points.values() if not p.held), default=0)
        self.trials = {agents: trial for agents, trial in self.trials.items() if agents in (held, broken)}


def _point(prepared: Prepared, agents: int, trial: Trial, held: bool, scout: bool) -> Point:
    values, requests, window_s = trial.verdict.values, trial.outlook.requests, steady_s(trial.world.stop, trial.output)
    speed = values.get(SPEED, values.get(E2E_SPEED, float("nan")))
    waits = requests[TTFT]
    ttft = values.get(TTFT)
    if ttft is None:
        ttft = float(np.percentile(waits, 95)) if waits.size else float("nan")
    rate = requests.finished_output_tokens / window_s if window_s else 0.0
    return Point(agents, prepared.seed, held, speed, ttft, waits.size, rate, scout)


def _line(prepared: Prepared, point: Point, aside: bool) -> str:
    word = ("scout, " if point.scout else "") + ("held so far" if aside else "held" if point.held else "broken")
    figures = f"speed {point.speed_tok_s:.1f} tok/s, TTFT {point.ttft_s:.2f} s, {point.calls:,} calls"
    return f"{prepared.deployment.name} seed {point.seed}: {point.agents} agents {word} ({figures})"


def search_seed(scenario: Scenario, seed: int, near: Bracket | int | None = None, progress: Progress | None = None) -> SeedAnswer:
    """The held count of one seed: by the benchmark's protocol, around a guess, or where another seed's SLO breaks.

    With neither, and unless ``scout_s`` is 0, short phases go through the protocol first; full phases then start from what they found.
    """
    prepared, first = prepare(scenario, seed), near is None
    phases, scouts = Phases(prepared, progress), Phases(scouting(prepared), progress, scout=True)
    if near is None and scenario.scout_s:
        near = search(scouts, replace(scenario.search, share=max(SCOUT_SHARE, scenario.search.share))).held
    bracket = settled(phases, near, scenario.search, scouts.margins)
    held, broken = phases.summary(bracket.held), phases.summary(bracket.broken)
    binding = phases.trials[bracket.broken].verdict.binding if bracket.broken in phases.trials else ""
    beyond = min(round(BEYOND * bracket.broken) + 1, scenario.search.ceiling)
    if first and 0 < bracket.broken < beyond and beyond not in phases.points:
        phases.finish(beyond)
    return SeedAnswer(
        seed=seed,
        bracket=bracket,
        points=(*scouts.points.values(), *phases.points.values()),
        held=held,
        broken=broken,
        binding=binding,
        system=prepared.system.name,
        model=prepared.model.name,
        deployment=prepared.deployment.name,
        gpus=prepared.deployment.gpus,
        slo=prepared.slo,
        quality=prepared.quality,
        engine=engine_words(prepared.deployment.imitates, prepared.deployment.inspired),
        badge=badge(prepared.system, prepared.deployment),
    )


def settled(phases: Phases, near: Bracket | int | None, resolution: Resolution, like: Curve = NO_CURVE) -> Bracket:
    """Where the SLO breaks, with the phase that holds there played to its end. From a guess, ``like`` tells how margins fall.

    Where it breaks on the way the search is asked again with what is known by then, and goes on below.
    """
    while True:
        if near is None:
            bracket = search(phases, resolution)
        elif isinstance(near, Bracket):
            bracket = search_around(phases, near, resolution)
        else:
            bracket = search_near(phases, near, resolution, like)
        if not bracket.held or phases.finish(bracket.held):
            return bracket


def scouting(prepared: Prepared) -> Prepared:
    """The same load under a short phase: no minimum of trajectories, and a window late enough that contexts have grown."""
    usual, window_s = prepared.scenario.phase, prepared.scenario.scout_s
    late = Phase(usual.ramp_s, usual.warmup_s + 2 * window_s, max(window_s, 1e-6), 0, 0, 0, usual.max_s)
    return replace(prepared, scenario=replace(prepared.scenario, phase=late))
