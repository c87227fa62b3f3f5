"""What limits a deployment, beyond the held point: what more and less of each resource would do to it. Inputs are scenarios with answers.

One resource at a time is changed by a share, and the SLO's edge is sought again with the same load, seed and phases.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.capacity.build import load_profiles, prepare_on
from simulator.capacity.fleet import engine_pools
from simulator.capacity.journal import Journal, journalled
from simulator.capacity.point import Progress
from simulator.capacity.results import Answer, Attribution, Gain
from simulator.capacity.scenario import Scenario
from simulator.capacity.study import NO_STUDIES, REACH, Moved
from simulator.capacity.sweep_key import point_key
from simulator.capacity.uncertainty_edge import find_edge, same
from simulator.errors import UserError
from simulator.hardware.deployment import Deployment, LawCoefficients, WorkerPool
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System

Machines = tuple[System, Deployment]
Change = Callable[[System, Deployment, float], Machines]


TOLD = 0.01
"""Share of the agents below which an edge, placed between counts 2 % apart, tells nothing in any case."""


def _law(deployment: Deployment, change: Callable[[LawCoefficients], LawCoefficients]) -> Deployment:
    return _pools(deployment, lambda pool: replace(pool, law=change(pool.law)))


def _pools(deployment: Deployment, change: Callable[[WorkerPool], WorkerPool]) -> Deployment:
    return replace(deployment, pools=tuple(map(change, deployment.pools)))


def _hbm_bandwidth(system: System, deployment: Deployment, by: float) -> Machines:
    return replace(system, hbm_bytes_per_s=system.hbm_bytes_per_s * by), deployment


def _kv_pool(system: System, deployment: Deployment, by: float) -> Machines:
    return system, _pools(deployment, lambda pool: replace(pool, blocks_per_rank=round(pool.blocks_per_rank * by)))


def _host_tier(system: System, deployment: Deployment, by: float) -> Machines:
    return system, _pools(deployment, lambda pool: replace(pool, host_blocks=round(pool.host_blocks * by)))


def _prefill(system: System, deployment: Deployment, by: float) -> Machines:
    def faster(law: LawCoefficients) -> LawCoefficients:
        names = ("prefill_token_s", "prefill_pair_s", "prefill_expert_s")
        return replace(law, **{name: getattr(law, name) / by for name in names})

    return system, _law(deployment, faster)


def _decode(system: System, deployment: Deployment, by: float) -> Machines:
    def faster(law: LawCoefficients) -> LawCoefficients:
        return replace(law, decode_token_s=law.decode_token_s / by, wider_token_s=law.wider_token_s / by)

    return system, _law(deployment, faster)


def _seats(system: System, deployment: Deployment, by: float) -> Machines:
    def more(pool: WorkerPool) -> WorkerPool:
        """In a decode pool the token budget is what its seats need, and goes with them."""
        budget = round(pool.token_budget * by) if pool.role == "decode" else pool.token_budget
        return replace(pool, max_seqs=max(1, round(pool.max_seqs * by)), token_budget=budget)

    return system, _pools(deployment, more)


def _links(system: System, deployment: Deployment, by: float) -> Machines:
    rates = {key: getattr(system, key) * by for key in ("scale_up_bytes_per_s", "scale_out_bytes_per_s", "host_link_bytes_per_s")}
    return replace(system, **rates), deployment


def _host(system: System, deployment: Deployment, by: float) -> Machines:
    return system, _law(deployment, lambda law: replace(law, floor_s=law.floor_s / by, host_s=law.host_s / by))


def _power_cap(system: System, deployment: Deployment, by: float) -> Machines:
    cap_w = min((system.cap_w or system.tdp_w) * by, system.tdp_w)
    return replace(system, cap_w=cap_w if cap_w < system.tdp_w else None), deployment


RESOURCES: dict[str, tuple[str, Change]] = {
    "hbm_bandwidth": ("HBM bandwidth", _hbm_bandwidth),
    "kv_pool": ("KV pool", _kv_pool),
    "host_tier": ("host KV tier", _host_tier),
    "prefill_compute": ("prefill compute", _prefill),
    "decode_compute": ("decode compute", _decode),
    "seats": ("batch seats", _seats),
    "links": ("links", _links),
    "host": ("launch floor and host", _host),
    "power_cap": ("power cap", _power_cap),
}
"""Resource -> its words, and what more of it changes: rates and sizes by the factor, times by its inverse."""


def attribute(
    scenarios: Sequence[Scenario],
    answers: Sequence[Answer],
    progress: Progress | None = None,
    jobs: int | None = None,
    journal: Journal | None = None,
) -> list[Answer]:
    """The answers, each with what more and less of every resource would do to it; as they are where nobody is held.

    Parameters
    ----------
    scenarios, answers : sequences of equal length
    progress : callable, optional
        Told after every edge.
    jobs : int, optional
        Processes; by default as many as there are CPUs. The result does not depend on it.
    journal : Journal, optional
        Edges in it are not sought again.
    """
    steps = [("", 1.0), *((name, by) for name in RESOURCES for by in (1 + REACH, 1 - REACH))]
    asked = [(scenario, found) for scenario, found in zip(scenarios, answers, strict=True) if found.agents_held]
    tasks = [(moved, (scenario, found.agents_held, *step)) for scenario, found in asked for step in steps]
    keys = [_key(*arguments) for _, arguments in tasks] if journal else []
    edges = iter(journalled(tasks, keys, journal, progress, jobs))
    return [
        replace(found, attribution=_attribution(found, [next(edges) for _ in steps])) if found.agents_held else found for found in answers
    ]


def _key(scenario: Scenario, guess: int, resource: str, by: float) -> str:
    """Digest of all that an edge follows from."""
    bare = replace(scenario, studies=NO_STUDIES, size=None, seeds=scenario.seeds[:1])
    return point_key(bare, f"limits {guess} {resource} {by!r}", load_profiles(scenario))


def moved(scenario: Scenario, guess: int, resource: str, by: float) -> Moved:
    """The edge of the first seed with one resource changed; nothing is played when the engine reads the same as before."""
    system, model, deployment = load_profiles(scenario)
    agents: float | None = None
    if resource:
        other = RESOURCES[resource][1](system, deployment, by)
        if not same(engine_pools(other[0], model, other[1]), engine_pools(system, model, deployment)):
            agents = _edge(scenario, guess, other[0], model, other[1])
    else:
        agents = _edge(scenario, guess, system, model, deployment)
    return Moved(deployment.name, resource, by, agents)


def _edge(scenario: Scenario, guess: int, system: System, model: ModelCard, deployment: Deployment) -> float:
    """0 when a smaller KV pool has no room for one call."""
    try:
        return find_edge(prepare_on(scenario, scenario.seeds[0], system, model, deployment), guess).agents
    except UserError:
        return 0.0


def _attribution(answer: Answer, edges: Sequence[Moved]) -> Attribution:
    nominal = edges[0].agents or float("nan")
    held = {
        (edge.resource, edge.by > 1): answer.agents_held * (nominal if edge.agents is None else edge.agents) / nominal for edge in edges[1:]
    }
    gains = [Gain(name, words, held[name, True], held[name, False]) for name, (words, _) in RESOURCES.items()]
    ordered = tuple(sorted(gains, key=lambda gain: (-gain.more, gain.less)))
    noise = noise_of(answer.agents_held, ordered)
    return Attribution(REACH, float(answer.agents_held), ordered, noise, sentence(answer.agents_held, ordered, noise))


def noise_of(agents: float, gains: Sequence[Gain]) -> float:
    """How far an edge moves by chance: the furthest that some resource went the wrong way, at least `TOLD`.

    With one seed, a step that takes a little less time reorders all that follows; among a handful of agents that shows.
    """
    return max(TOLD, *(max(1 - gain.more / agents, gain.less / agents - 1) for gain in gains))


def sentence(agents: float, gains: Sequence[Gain], noise: float) -> str:
    """Which resource gives most, which others give something, and whose loss costs most, each beyond the noise."""
    useful = [(gain.words, gain.more / agents - 1) for gain in gains if gain.more / agents - 1 > noise]
    said = f"{REACH:.0%} more of no single resource would hold {noise:.1%} more agents"
    if useful:
        (words, share), *others = useful
        rest = f", of {', '.join(f'{name} {more:.1%}' for name, more in others)}" if others else f", of anything else at most {noise:.1%}"
        said = f"{REACH:.0%} more {words} would hold {share:.1%} more agents{rest}"
    worst = min(gains, key=lambda gain: gain.less)
    loss = 1 - worst.less / agents
    return said + (f"; {REACH:.0%} less {worst.words} costs most: {loss:.1%} of the agents." if loss > noise else ".")
