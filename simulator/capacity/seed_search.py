"""The search of one seed: phases of a scenario at one agent count after another. Inputs come from a scenario."""

from dataclasses import dataclass, replace

import numpy as np

from simulator.capacity.build import Prepared, prepare
from simulator.capacity.metrics import is_complete, measure, steady_s
from simulator.capacity.point import Progress, engine_words, play_judged, summarise
from simulator.capacity.requests import Requests
from simulator.capacity.results import Point, Summary
from simulator.capacity.scenario import Phase, Scenario
from simulator.capacity.search import Bracket, search, search_around, search_near
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, Verdict
from simulator.engine.world import Output, World
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


@dataclass(frozen=True)
class Played:
    """A phase as it was played and what the SLO says of it; it is measured only where somebody asks."""

    world: World
    output: Output
    verdict: Verdict

    def summary(self, prepared: Prepared) -> Summary | None:
        """Everything people read off it; None where no request finished."""
        window = measure(self.world, self.output)
        return summarise(prepared, window, (prepared.seed,)) if window.ttft_s.size else None


class Phases:
    """The phases of one seed's search: plays each agent count once, and keeps those nearest to the edge of the SLO."""

    def __init__(self, prepared: Prepared, progress: Progress | None, scout: bool = False) -> None:
        self.prepared, self.progress, self.scout = prepared, progress, scout
        self.points: list[Point] = []
        self.played: dict[int, Played] = {}

    def __call__(self, agents: int) -> float:
        """Margin of the SLO with this many agents; 0 for a phase that met its hard end, which does not count."""
        world, output, requests = play_judged(self.prepared, agents)
        verdict, complete = requests.verdict(), is_complete(world.stop, output)
        window_s = steady_s(world.stop, output)
        self.points.append(_point(self.prepared, agents, window_s, requests, verdict, verdict.held and complete, self.scout))
        self.played[agents] = Played(world, output, verdict)
        self._forget()
        if self.progress:
            self.progress(_line(self.prepared, self.points[-1]))
        return verdict.margins[verdict.binding] if complete else 0.0

    def _forget(self) -> None:
        """Calls are many: only the counts nearest to the edge on either side can still be asked for."""
        held = max((p.agents for p in self.points if p.held), default=0)
        broken = min((p.agents for p in self.points if not p.held), default=0)
        self.played = {agents: played for agents, played in self.played.items() if agents in (held, broken)}


def _point(prepared: Prepared, agents: int, window_s: float, requests: Requests, verdict: Verdict, held: bool, scout: bool) -> Point:
    speed = verdict.values.get(SPEED, verdict.values.get(E2E_SPEED, float("nan")))
    waits = requests.samples[TTFT]
    ttft = verdict.values.get(TTFT)
    if ttft is None:
        ttft = float(np.percentile(waits, 95)) if waits.size else float("nan")
    rate = requests.finished_output_tokens / window_s if window_s else 0.0
    return Point(agents, prepared.seed, held, speed, ttft, waits.size, rate, scout)


def _line(prepared: Prepared, point: Point) -> str:
    word = ("scout, " if point.scout else "") + ("held" if point.held else "broken")
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
    if near is None:
        bracket = search(phases, scenario.search)
    elif isinstance(near, Bracket):
        bracket = search_around(phases, near, scenario.search)
    else:
        bracket = search_near(phases, near, scenario.search)
    held, broken = phases.played.get(bracket.held), phases.played.get(bracket.broken)
    if first and 0 < bracket.broken < scenario.search.ceiling:
        phases(min(round(BEYOND * bracket.broken) + 1, scenario.search.ceiling))
    return SeedAnswer(
        seed=seed,
        bracket=bracket,
        points=(*scouts.points, *phases.points),
        held=held.summary(prepared) if held else None,
        broken=broken.summary(prepared) if broken else None,
        binding=broken.verdict.binding if broken else "",
        system=prepared.system.name,
        model=prepared.model.name,
        deployment=prepared.deployment.name,
        gpus=prepared.deployment.gpus,
        slo=prepared.slo,
        quality=prepared.quality,
        engine=engine_words(prepared.deployment.imitates, prepared.deployment.inspired),
        badge=badge(prepared.system, prepared.deployment),
    )


def scouting(prepared: Prepared) -> Prepared:
    """The same load under a short phase: no minimum of trajectories, and a window late enough that contexts have grown."""
    usual, window_s = prepared.scenario.phase, prepared.scenario.scout_s
    late = Phase(usual.ramp_s, usual.warmup_s + 2 * window_s, max(window_s, 1e-6), 0, 0, 0, usual.max_s)
    return replace(prepared, scenario=replace(prepared.scenario, phase=late))
