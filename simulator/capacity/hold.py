"""How many agents a deployment holds: the search for each seed, and the answer from all of them. Inputs come from scenarios."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median_low
from typing import Any

from simulator.capacity.attribute import attribute
from simulator.capacity.build import prepare
from simulator.capacity.limiter import Pressure, find_limiter
from simulator.capacity.point import Progress, play_window
from simulator.capacity.processes import Follower, Task, in_processes
from simulator.capacity.results import Answer, PowerBases, Summary
from simulator.capacity.scenario import Phase, Scenario
from simulator.capacity.search import is_monotone, knee
from simulator.capacity.seed_search import SeedAnswer, search_seed
from simulator.capacity.slo import E2E_SPEED, SPEED, TTFT
from simulator.capacity.uncertainty import carry
from simulator.engine.kept import is_kept
from simulator.engine.kernel import advance
from simulator.units import told_apart

BASES = ("accelerator", "tdp", "nameplate", "facility")
INTERVAL_KIND = "smallest and largest answer of the seeds"


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

    Examples
    --------
    >>> from simulator import find_capacity, load_scenario
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "slo.speed_tok_s": 60, "seeds": 1}
    >>> answer = find_capacity(load_scenario("capacity_h200", small), jobs=1)
    >>> answer.held.agents == answer.agents_held < answer.broken.agents, answer.binding
    (True, 'speed')
    """
    answers, _ = carry([scenario], answer_all([scenario], progress, jobs), (), progress, jobs)
    if "limits" in scenario.studies:
        answers = attribute([scenario], answers, progress, jobs)
    return answers[0]


def answer_all(scenarios: Sequence[Scenario], progress: Progress | None = None, jobs: int | None = None) -> list[Answer]:
    """The answers of several scenarios: the full protocol for each one's first seed, then all other seeds around what it found."""
    return answer_beside(scenarios, (), progress, jobs)[0]


def answer_beside(
    scenarios: Sequence[Scenario], others: Sequence[Task], progress: Progress | None, jobs: int | None
) -> tuple[list[Answer], list[Any]]:
    """The answers of several scenarios, and the results of tasks that processes do while the longest of the first seeds lasts."""
    if jobs != 1:
        compile_once(scenarios[0])
    firsts = [(search_seed, (s, s.seeds[0], None)) for s in scenarios]
    found = iter(in_processes([*firsts, *others], progress, jobs, [[_around_first(s, seed) for seed in s.seeds[1:]] for s in scenarios]))
    return [answer([next(found) for _ in s.seeds]) for s in scenarios], list(found)


def _around_first(scenario: Scenario, seed: int) -> Follower:
    """A later seed, sought around what the first one found."""
    return lambda first: (search_seed, (scenario, seed, first.bracket))


def compile_once(scenario: Scenario) -> None:
    """Compiles the kernel unless that was done before on this machine, so that processes which all want it find it on disk."""
    if not is_kept(advance):
        compile_kernel(scenario)


def compile_kernel(scenario: Scenario) -> None:
    """Runs the kernel for one simulated second, so that this process has it ready, and others find it on disk."""
    prepared = prepare(scenario, scenario.seeds[0])
    play_window(replace(prepared, scenario=replace(scenario, phase=Phase(0.0, 0.0, 1.0, 0, 0, 0, 1.0))), 1)


def answer(seeds: Sequence[SeedAnswer]) -> Answer:
    """One answer from the seeds' answers: the (lower) median, and the smallest and largest as its interval."""
    counts = [s.bracket.held for s in seeds]
    chosen = next(s for s in seeds if s.bracket.held == median_low(counts))
    agents, held = chosen.bracket.held, chosen.held
    per_mw = [_agents_per_mw(s) for s in seeds]
    knee_agents, reached = knee([(p.agents, p.output_tok_s) for p in seeds[0].points])
    limiter, binding_pool, sentence = _what_limits(chosen)
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
        engine=chosen.engine,
        binding_pool=binding_pool,
        knee_reached=reached,
        badge=chosen.badge.word,
        badge_because=chosen.badge.because,
    )


def _agents_per_mw(found: SeedAnswer) -> dict[str, float]:
    """Agents per MW on each power basis; zeros when not one agent holds."""
    if found.held is None:
        return dict.fromkeys(BASES, 0.0)
    return asdict(found.held.agents_per_mw)


def _what_limits(found: SeedAnswer) -> tuple[str, str, str]:
    """The limiter at the first broken count, the pool it is in, and what was measured there in plain words."""
    if not found.bracket.broken:
        return "", "", f"{found.deployment} holds {found.bracket.held} agents, the ceiling of the search: what limits it was not met."
    broken = found.broken
    if broken is None:
        return "", "", f"{found.deployment} finished no call in the steady window at {found.bracket.broken} agents."
    at = f"At {broken.agents} agents {_clause(found, broken)}"
    if broken.why:
        return broken.limiter, broken.binding_pool, f"{at}. {broken.why[0].upper()}{broken.why[1:]}. {_reuse(broken)}"
    limiter, clause = find_limiter(Pressure(broken.step_shares, broken.blocked_shares, broken.cache_hit, broken.cache_hit_possible))
    return limiter, broken.binding_pool, f"{at}; {clause}. {_reuse(broken)}"


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
    return f"P{limit.percentile:g} {word} is {told_apart(value, limit.limit)} {unit} against {limit.limit:g}"


def _reuse(broken: Summary) -> str:
    decoding = f", a rank decodes {broken.decode_batch_per_rank:.1f} calls at once" if len(broken.pools) < 2 else ""
    return f"The prefix cache serves {broken.cache_hit:.0%} of the prompt tokens ({broken.cache_hit_possible:.0%} possible){decoding}."
