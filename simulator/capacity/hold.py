"""How many agents a deployment holds: the search for each seed, and the answer from all of them. Inputs come from scenarios."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed

from simulator.capacity.build import Prepared, prepare
from simulator.capacity.limiter import Pressure, find_limiter
from simulator.capacity.metrics import Window
from simulator.capacity.point import Progress, play, summarise
from simulator.capacity.results import Answer, Point, PowerBases, Summary
from simulator.capacity.scenario import Phase, Scenario
from simulator.capacity.search import Bracket, is_monotone, knee, search, search_near
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, Verdict
from simulator.units import W_PER_MW

BASES = ("accelerator", "tdp", "nameplate", "facility")
SCOUT_SHARE = 0.04
"""Scouts need not find the edge more finely than their short windows tell it."""
INTERVAL_KIND = "smallest and largest answer of the seeds"


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

    def __str__(self) -> str:
        return f"{self.deployment} seed {self.seed}: holds {self.bracket.held} agents ({len(self.points)} phases)"


class Phases:
    """The phases of one seed's search: plays each agent count once, and keeps what the edge of the SLO will be described by."""

    def __init__(self, prepared: Prepared, progress: Progress | None, scout: bool = False) -> None:
        self.prepared, self.progress, self.scout = prepared, progress, scout
        self.points: list[Point] = []
        self.windows: dict[int, tuple[Window, Verdict]] = {}

    def __call__(self, agents: int) -> float:
        """Margin of the SLO with this many agents; 0 for a phase that met its hard end, which does not count."""
        window = play(self.prepared, agents)
        verdict = self.prepared.slo.evaluate(window.samples)
        held = verdict.held and window.complete
        self.points.append(_point(self.prepared, window, verdict, held, self.scout))
        self.windows[agents] = window, verdict
        self._forget()
        if self.progress:
            self.progress(_line(self.prepared, self.points[-1]))
        return verdict.margins[verdict.binding] if window.complete else 0.0

    def _forget(self) -> None:
        """Windows are large: only the two counts nearest to the edge on each side can still be asked for."""
        held = sorted(p.agents for p in self.points if p.held)[-2:]
        broken = sorted(p.agents for p in self.points if not p.held)[:2]
        self.windows = {agents: found for agents, found in self.windows.items() if agents in held or agents in broken}


def _point(prepared: Prepared, window: Window, verdict: Verdict, held: bool, scout: bool) -> Point:
    speed = verdict.values.get(SPEED, verdict.values.get(E2E_SPEED, float("nan")))
    ttft = verdict.values.get(TTFT)
    if ttft is None:
        ttft = float(np.percentile(window.ttft_s, 95)) if window.ttft_s.size else float("nan")
    rate = window.finished_output_tokens / window.window_s if window.window_s else 0.0
    return Point(window.agents, prepared.seed, held, speed, ttft, window.ttft_s.size, rate, scout)


def _line(prepared: Prepared, point: Point) -> str:
    word = ("scout, " if point.scout else "") + ("held" if point.held else "broken")
    figures = f"speed {point.speed_tok_s:.1f} tok/s, TTFT {point.ttft_s:.2f} s, {point.calls:,} calls"
    return f"{prepared.deployment.name} seed {point.seed}: {point.agents} agents {word} ({figures})"


def search_seed(scenario: Scenario, seed: int, guess: int | None = None, progress: Progress | None = None) -> SeedAnswer:
    """The held count of one seed: by the benchmark's protocol, or around a guess.

    Without a guess, and unless ``scout_s`` is 0, short phases go through the protocol first; full phases then start from what they found.
    """
    prepared = prepare(scenario, seed)
    phases, scouts = Phases(prepared, progress), Phases(scouting(prepared), progress, scout=True)
    if guess is None and scenario.scout_s:
        guess = search(scouts, replace(scenario.search, share=max(SCOUT_SHARE, scenario.search.share))).held
    bracket = search(phases, scenario.search) if guess is None else search_near(phases, guess, scenario.search)
    held, broken = phases.windows.get(bracket.held), phases.windows.get(bracket.broken)
    return SeedAnswer(
        seed=seed,
        bracket=bracket,
        points=(*scouts.points, *phases.points),
        held=summarise(prepared, held[0], (seed,)) if held else None,
        broken=summarise(prepared, broken[0], (seed,)) if broken and broken[0].ttft_s.size else None,
        binding=broken[1].binding if broken else "",
        system=prepared.system.name,
        model=prepared.model.name,
        deployment=prepared.deployment.name,
        gpus=prepared.deployment.gpus,
        slo=prepared.slo,
        quality=prepared.quality,
    )


def scouting(prepared: Prepared) -> Prepared:
    """The same load under a short phase: no minimum of trajectories, and a window late enough that contexts have grown."""
    usual, window_s = prepared.scenario.phase, prepared.scenario.scout_s
    late = Phase(usual.ramp_s, usual.warmup_s + 2 * window_s, max(window_s, 1e-6), 0, 0, 0, usual.max_s)
    return replace(prepared, scenario=replace(prepared.scenario, phase=late))


def capacity(scenario: Scenario, progress: Progress | None = None, jobs: int | None = None) -> Answer:
    """How many agents the scenario's deployment holds at its SLO.

    Parameters
    ----------
    scenario : Scenario
    progress : callable, optional
        Told after every phase (after every seed when seeds run in parallel).
    jobs : int, optional
        Processes; by default as many as there are CPUs. The answer does not depend on it.

    Raises
    ------
    UserError
        When a part of the scenario is bad.
    """
    return answer_all([scenario], progress, jobs)[0]


def answer_all(scenarios: Sequence[Scenario], progress: Progress | None = None, jobs: int | None = None) -> list[Answer]:
    """The answers of several scenarios: the full protocol for each one's first seed, then all other seeds around what it found."""

    compile_kernel(scenarios[0])
    firsts = in_processes([(search_seed, (s, s.seeds[0], None)) for s in scenarios], progress, jobs)
    rest = [(search_seed, (s, seed, first.bracket.held)) for s, first in zip(scenarios, firsts, strict=True) for seed in s.seeds[1:]]
    later = iter(in_processes(rest, progress, jobs))
    return [answer([first, *(next(later) for _ in s.seeds[1:])]) for s, first in zip(scenarios, firsts, strict=True)]


def compile_kernel(scenario: Scenario) -> None:
    """Runs the kernel for one simulated second, so that it is compiled, and on disk for other processes, before they all want it."""
    prepared = prepare(scenario, scenario.seeds[0])
    play(replace(prepared, scenario=replace(scenario, phase=Phase(0.0, 0.0, 1.0, 0, 0, 0, 1.0))), 1)


Task = tuple[Callable[..., Any], tuple[Any, ...]]


def in_processes(tasks: Sequence[Task], progress: Progress | None, jobs: int | None) -> list[Any]:
    """Results of pure functions in the order of the tasks; in this process when one is enough.

    A function is called with its arguments and the keyword ``progress``. Only this process tells progress: with several, when a task ends.
    """
    jobs = min(len(tasks), jobs or cpu_count())
    if jobs <= 1:
        return [function(*arguments, progress=progress) for function, arguments in tasks]
    found = []
    calls = [delayed(function)(*arguments, progress=None) for function, arguments in tasks]
    for result in Parallel(n_jobs=jobs, return_as="generator")(calls):
        found.append(result)
        if progress:
            progress(str(result))
    return found


def answer(seeds: Sequence[SeedAnswer]) -> Answer:
    """One answer from the seeds' answers: the (lower) median, and the smallest and largest as its interval."""
    counts = [s.bracket.held for s in seeds]
    chosen = next(s for s in seeds if s.bracket.held == median_low(counts))
    agents, held = chosen.bracket.held, chosen.held
    per_mw = [_agents_per_mw(s) for s in seeds]
    knee_agents, reached = knee([(p.agents, p.output_tok_s) for p in seeds[0].points])
    limiter, sentence = _what_limits(chosen)
    return Answer(
        system=chosen.system,
        model=chosen.model,
        deployment=chosen.deployment,
        slo=chosen.slo.as_dict(),
        agents_held=agents,
        interval=(min(counts), max(counts)),
        interval_kind=INTERVAL_KIND,
        gpus=chosen.gpus,
        agents_per_gpu=agents / chosen.gpus,
        agents_per_mw=PowerBases(**_agents_per_mw(chosen)),
        agents_per_mw_interval={basis: (min(x[basis] for x in per_mw), max(x[basis] for x in per_mw)) for basis in BASES},
        accelerator_w_per_gpu=held.watts_per_gpu.accelerator if held else float("nan"),
        cache_hit=held.cache_hit if held else float("nan"),
        limiter=limiter,
        binding=chosen.binding,
        knee_agents=knee_agents,
        knee_distance=agents / knee_agents if knee_agents else float("nan"),
        monotone=all(is_monotone([(p.agents, p.held) for p in s.points if p.scout == scout]) for s in seeds for scout in (False, True)),
        quality=chosen.quality,
        seeds=tuple(s.seed for s in seeds),
        goodput_agents=held.goodput_agents if held else 0.0,
        goodput_output_tok_s=held.goodput_output_tok_s if held else 0.0,
        points=tuple(p for s in seeds for p in s.points),
        held=held,
        broken=chosen.broken,
        sentence=sentence,
        knee_reached=reached,
    )


def _agents_per_mw(found: SeedAnswer) -> dict[str, float]:
    """Agents per MW on each power basis; zeros when not one agent holds."""
    if found.held is None:
        return dict.fromkeys(BASES, 0.0)
    watts = found.held.watts_per_gpu
    return {basis: found.bracket.held / (found.gpus * getattr(watts, basis)) * W_PER_MW for basis in BASES}


def _what_limits(found: SeedAnswer) -> tuple[str, str]:
    """The limiter at the first broken count, and a sentence that says what was measured there."""
    if not found.bracket.broken:
        return "", f"{found.deployment} holds {found.bracket.held} agents, the ceiling of the search: what limits it was not met."
    broken = found.broken
    if broken is None:
        return "", f"{found.deployment} finished no call in the steady window at {found.bracket.broken} agents."
    limiter, clause = find_limiter(Pressure(broken.step_shares, broken.blocked_shares, broken.cache_hit, broken.cache_hit_possible))
    return limiter, f"At {broken.agents} agents {_clause(found, broken)}; {clause}. {_reuse(broken)}"


def _clause(found: SeedAnswer, broken: Summary) -> str:
    point = next(p for p in found.points if p.agents == broken.agents and not p.scout)
    limit = next(c for c in found.slo.clauses if c.quantity == found.binding)
    value, unit, word = {
        SPEED: (point.speed_tok_s, "tok/s", "output speed"),
        TTFT: (point.ttft_s, "s", "TTFT"),
        E2E_SPEED: (point.speed_tok_s, "tok/s", "end-to-end speed"),
    }[found.binding]
    if limit.margin(value) >= 1:
        return "the phase ended at phase.max_s before it counted"
    return f"P{limit.percentile:g} {word} is {value:.3g} {unit} against {limit.limit:g}"


def _reuse(broken: Summary) -> str:
    return (
        f"The prefix cache serves {broken.cache_hit:.0%} of the prompt tokens ({broken.cache_hit_possible:.0%} possible), "
        f"a rank decodes {broken.decode_batch_per_rank:.1f} calls at once."
    )
