"""Shape search: which pool sizes and layouts hold most agents per GPU or per MW. Inputs come from a scenario, whose deployment is the base.

Every shape that fits is rated on paper; the best of the best families, and the base, are simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from simulator.capacity.build import Prepared, prepare
from simulator.capacity.hold import answer, compile_once
from simulator.capacity.point import Progress, engine_words
from simulator.capacity.processes import in_processes
from simulator.capacity.results import Answer
from simulator.capacity.scenario import Phase, Scenario
from simulator.capacity.seed_search import SeedAnswer, search_seed
from simulator.capacity.shape_base import Base, base_of
from simulator.capacity.shape_candidates import Candidate, candidates, fleet_of
from simulator.capacity.shape_demand import demand_of
from simulator.capacity.shape_estimate import Estimate
from simulator.capacity.shape_paper import estimate
from simulator.capacity.shape_space import DEP, TP, Refused, Shape, Space
from simulator.capacity.shape_terms import Terms
from simulator.errors import Mistake, UserError

MEASURES = ("gpu", "mw")
"""What a shape may hold most agents per."""
RESOLUTION = 0.02
"""Share to which the search of a finalist closes in: two shapes nearer to each other than this are not told apart."""
RUNNERS_UP = 10


@dataclass(frozen=True)
class Tried:
    """A shape: what it holds on paper (None for a base of another kind than the search rates), and simulated (None for a runner-up).

    ``deployment`` is the mapping that makes it of the base, for a scenario of one's own; empty for the base.
    """

    name: str
    shape: Shape | None
    gpus: int
    paper: Estimate | None
    answer: Answer | None
    deployment: Mapping[str, Any]

    @property
    def ratio(self) -> float:
        """Agents on paper over agents held; nan when one of them is missing."""
        if self.paper is None or self.answer is None or not self.answer.agents_held:
            return float("nan")
        return self.paper.agents / self.answer.agents_held

    def score(self, by: str) -> float:
        """Agents held per ``gpu`` or per ``mw`` (accelerator basis), simulated where that was done."""
        if self.answer is not None:
            return self.answer.agents_per_mw.accelerator if by == "mw" else self.answer.agents_per_gpu
        return self.paper.score(by) if self.paper else 0.0


@dataclass(frozen=True)
class ShapeAnswer:
    """What a shape search found.

    Attributes
    ----------
    by : {"gpu", "mw"}
    gpus : int
        That a shape may use.
    seeds : tuple of int
    rated : int
        Shapes rated on paper.
    finalists : tuple of Tried
        Simulated, best first.
    base : Tried
    runners_up : tuple of Tried
        The best shapes of further families, on paper only.
    refused : tuple of Refused
    cautions : tuple of str
        What the reader must know of the shapes beyond the base's.
    """

    system: str
    model: str
    slo: dict[str, object]
    engine: str
    by: str
    gpus: int
    seeds: tuple[int, ...]
    rated: int
    finalists: tuple[Tried, ...]
    base: Tried
    runners_up: tuple[Tried, ...]
    refused: tuple[Refused, ...]
    cautions: tuple[str, ...]

    @property
    def best(self) -> Tried:
        """The shape that holds most, the base among them."""
        return max((*self.finalists, self.base), key=lambda tried: tried.score(self.by))

    def dominated(self, tried: Tried) -> bool:
        """Whether another simulated shape holds at least as many agents per GPU and per MW, and more by one of them."""
        own = [tried.score(by) for by in MEASURES]
        others = [[other.score(by) for by in MEASURES] for other in (*self.finalists, self.base) if other is not tried]
        return any(all(b >= a for a, b in zip(own, other, strict=True)) and other != own for other in others)

    @property
    def gap(self) -> tuple[float, float]:
        """Smallest and largest of agents on paper over agents held; nan when nothing was both rated and simulated."""
        ratios = [tried.ratio for tried in (*self.finalists, self.base) if tried.ratio == tried.ratio]
        return (min(ratios), max(ratios)) if ratios else (float("nan"), float("nan"))


def find_shape(
    scenario: Scenario,
    space: Space | None = None,
    *,
    by: str = "gpu",
    finalists: int = 4,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> ShapeAnswer:
    """The pool sizes and layouts that hold most agents.

    Parameters
    ----------
    scenario : Scenario
        Its deployment is the base: engine, options, budgets and coefficients are kept, sizes and layouts change. Its first seed is used.
    space : Space, optional
    by : {"gpu", "mw"}
    finalists : int
        Shapes to simulate, of different families, and of both kinds where both fit.
    progress : callable, optional
        Told after every phase.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The answer does not depend on it.

    Raises
    ------
    UserError
        When a part of the scenario is bad, the base does not fit, or no shape fits the GPUs.
    """
    space = space or Space()
    _refuse_bad_arguments(scenario, space, by, finalists)
    tell = progress or (lambda line: None)
    prepared = prepare(scenario, scenario.seeds[0])
    most = space.gpus or prepared.system.gpus
    base = base_of(scenario.one_deployment(), prepared.deployment, prepared.system, prepared.model)
    terms = Terms(demand_of(prepared, prepared.deployment.accepted_length / _speed(prepared)), prepared.slo)
    tell(f"rating shapes of up to {most} GPUs on paper")
    rated = candidates(base, prepared.model, terms, space, by)
    if not rated.found:
        reasons = "; ".join(dict.fromkeys(f"{r.role} {r.layout}: {r.reason}" for r in rated.refused))
        raise UserError(Mistake(scenario.name, "deployment", f"no shape fits {most} GPUs", hint=reasons))
    chosen, others = _finalists(rated.found, finalists)
    tell(f"{len(rated.found)} shapes rated; simulating the base and {'; '.join(str(c.shape) for c in chosen)}")
    reference = estimate(terms, fleet_of(base, prepared.model, prepared.deployment))
    made = [base.mapping(c.shape) for c in chosen]
    tasks = [_task(scenario, prepared, None, reference)]
    tasks += [_task(scenario, prepared, mapping, c.paper) for mapping, c in zip(made, chosen, strict=True)]
    compile_once(scenario)
    own, *found = [answer([seed]) for seed in in_processes([(_held, task) for task in tasks], progress, jobs)]
    tried = [_tried(c, base, a) for c, a in zip(chosen, found, strict=True)]
    return ShapeAnswer(
        system=prepared.system.name,
        model=prepared.model.name,
        slo=prepared.slo.as_dict(),
        engine=engine_words(prepared.deployment.imitates, prepared.deployment.inspired),
        by=by,
        gpus=most,
        seeds=scenario.seeds[:1],
        rated=len(rated.found),
        finalists=tuple(sorted(tried, key=lambda t: (-t.score(by), t.gpus, t.name))),
        base=Tried(prepared.deployment.name, base.shape(), prepared.deployment.gpus, reference, own, {}),
        runners_up=tuple(_tried(c, base, None) for c in others[:RUNNERS_UP]),
        refused=rated.refused,
        cautions=_cautions(base, space),
    )


def _tried(candidate: Candidate, base: Base, found: Answer | None) -> Tried:
    shape = candidate.shape
    return Tried(str(shape), shape, shape.gpus, candidate.paper, found, base.mapping(shape))


def _refuse_bad_arguments(scenario: Scenario, space: Space, by: str, finalists: int) -> None:
    unknown = [attention for attention in space.attentions if attention not in (DEP, TP)]
    checks = (
        ("by", by, by in MEASURES, ", ".join(MEASURES)),
        ("finalists", finalists, finalists >= 1, "a whole number >= 1"),
        ("gpus", space.gpus, space.gpus >= 0, "a whole number >= 1"),
        ("widest", space.widest, space.widest >= 0, "a whole number >= 1"),
        ("attention", unknown, not unknown, f"{DEP}, {TP}"),
    )
    mistakes = [Mistake(scenario.name, name, repr(value), allowed) for name, value, good, allowed in checks if not good]
    if mistakes:
        raise UserError(mistakes)


def _finalists(ranked: Sequence[Candidate], count: int) -> tuple[list[Candidate], list[Candidate]]:
    """The best shape of each of the best families, both kinds among them when there is room for two; and those of the other families."""
    firsts: dict[object, Candidate] = {}
    for candidate in ranked:
        firsts.setdefault(candidate.shape.family, candidate)
    best = list(firsts.values())
    chosen = best[:count]
    kinds = {candidate.shape.kind for candidate in chosen}
    other = next((candidate for candidate in best[count:] if candidate.shape.kind not in kinds), None)
    if other is not None and count > 1:
        chosen[-1] = other
    return chosen, [candidate for candidate in best if candidate not in chosen]


def _task(scenario: Scenario, prepared: Prepared, mapping: dict[str, object] | None, paper: Estimate | None) -> tuple[Scenario, int, int]:
    """A scenario for the search of one shape, its seed, and the count from which the search starts.

    Its phases have no minimum of trajectories: their window opens one play later than usual, when contexts have grown and queues stand.
    """
    usual = scenario.phase
    calls_per_play = len(prepared.calls.prompt_tokens) / (len(prepared.calls.first) - 1)
    play_s = calls_per_play * paper.load.cycle_s if paper else 2 * scenario.scout_s
    late_s = min(usual.warmup_s + play_s, max(usual.warmup_s, usual.max_s - usual.ramp_s - usual.min_window_s))
    phase = Phase(usual.ramp_s, late_s, usual.min_window_s, 0, 0, 0, usual.max_s)
    resolution = replace(scenario.search, share=max(RESOLUTION, scenario.search.share))
    shaped = replace(scenario, deployment=mapping or scenario.deployment, phase=phase, search=resolution)
    return shaped, scenario.seeds[0], paper.agents if paper else 0


def _held(scenario: Scenario, seed: int, guess: int, progress: Progress | None) -> SeedAnswer:
    """The held count of one shape, sought around what it holds on paper, or by the whole protocol when nothing is known."""
    return search_seed(scenario, seed, guess or None, progress)


def _speed(prepared: Prepared) -> float:
    """The output speed that the SLO asks for; the deployment's own when it judges none."""
    limits = [clause.limit for clause in prepared.slo.clauses if clause.quantity != "ttft"]
    return median(limits) if limits else prepared.deployment.speed_floor_tok_s


def _cautions(base: Base, space: Space) -> tuple[str, ...]:
    """What the laws do not know of shapes beyond the base's."""
    own = " and ".join(map(str, sorted({pool.gpus_per_worker for pool in base.deployment.pools})))
    said = []
    if not all(pool.law.wider_token_s for pool in base.deployment.pools):
        said.append(f"no wider_token_s says what wide expert parallelism costs: beyond the base's {own} GPUs a worker is flattered")
    if set(space.attentions) - {pool.attention for pool in base.deployment.pools}:
        said.append(
            "coefficients of another attention layout than the base's are its own, shared by the GPUs of a rank: the all-reduce of tensor "
            "parallelism is not in them"
        )
    if base.pool_share:
        said.append("the base's KV pool was measured for its layout; that of others is the same share of what memory arithmetic gives")
    return tuple(said)
