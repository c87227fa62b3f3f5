"""Where the SLO breaks when some fields of the profiles are moved. Inputs are a prepared scenario and a draw."""

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.capacity.build import Prepared, build_world, load_profiles, prepare, served_by
from simulator.capacity.point import Progress, play_window
from simulator.capacity.search import Resolution, search_near
from simulator.capacity.uncertainty_draws import Draw
from simulator.engine.world import Fleet
from simulator.errors import UserError
from simulator.hardware.spread import mover
from simulator.hardware.system import System

COARSEST = 0.02
"""Share of the agents that may lie between held and broken; the edge is then placed between them by their margins."""


@dataclass(frozen=True)
class Edge:
    """Where the SLO breaks.

    Attributes
    ----------
    agents : float
        Where the logarithm of the margin crosses 0 between the held and the broken count; 0 when not one agent holds.
    held : int
        Largest whole count found to hold.
    margin, accelerator_w : float
        Of the SLO, and watts per GPU, at that count.
    system : System
        With the watts of this draw.
    """

    deployment: str
    agents: float
    held: int
    margin: float
    accelerator_w: float
    system: System

    def __str__(self) -> str:
        return f"{self.deployment} with moved fields: the SLO breaks at {self.agents:,.1f} agents"


class _Probe:
    """Margins and watts by agent count, each played once."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.margins: dict[int, float] = {}
        self.watts: dict[int, float] = {}

    def __call__(self, agents: int) -> float:
        if agents not in self.margins:
            window = play_window(self.prepared, agents)
            verdict = self.prepared.slo.evaluate(window.samples)
            self.margins[agents] = verdict.margins[verdict.binding] if window.complete else 0.0
            self.watts[agents] = window.accelerator_w
        return self.margins[agents]


def find_edge(prepared: Prepared, guess: int, progress: Progress | None = None) -> Edge:
    """The edge nearest to a guess, by the phases of the prepared scenario."""
    return _edge(_Probe(prepared), guess)


def moved_edge(base: Prepared, nominal: Edge, draw: Draw, guess: int, progress: Progress | None = None) -> Edge:
    """The edge with some fields moved, everything else (load, seed, phases) as in ``base``.

    Nothing is played when nothing that the engine reads has moved, and one phase when only watts have.
    """
    prepared = moved_prepared(base, draw)
    if prepared is None:
        return replace(nominal, agents=0.0, held=0, margin=0.0)
    fleet, before = (build_world(each, 1).fleet for each in (prepared, base))
    same_play = prepared.calls is base.calls and same(_without_power(fleet), _without_power(before))
    if same_play and same(fleet, before):
        return replace(nominal, system=prepared.system)
    probe = _Probe(prepared)
    if same_play and nominal.held and probe(nominal.held) == nominal.margin:
        return replace(nominal, accelerator_w=probe.watts[nominal.held], system=prepared.system)
    return _edge(probe, guess)


def moved_prepared(base: Prepared, draw: Draw) -> Prepared | None:
    """The prepared scenario with some fields moved; None when they leave no room for one call.

    The compiled load is kept where nothing moved that it depends on: accepted lengths and the memory of the ranks.
    """
    change = mover(draw)
    try:
        system, model, deployment = load_profiles(base.scenario, change)
        memory = [(pool.blocks_per_rank, pool.fixed_blocks, pool.lookahead) for pool in deployment.pools]
        before = [(pool.blocks_per_rank, pool.fixed_blocks, pool.lookahead) for pool in base.deployment.pools]
        if memory != before or deployment.accept_pmf != base.deployment.accept_pmf:
            return prepare(base.scenario, base.seed, change)
    except UserError as error:
        if all(mistake.allowed.startswith("room for") for mistake in error.mistakes):
            return None
        raise
    return served_by(base, system, model, deployment)


def _edge(probe: _Probe, guess: int) -> Edge:
    usual = probe.prepared.scenario.search
    found = search_near(probe, guess, Resolution(usual.exact_below, max(COARSEST, usual.share), usual.ceiling))
    return Edge(
        deployment=probe.prepared.deployment.name,
        agents=_between(probe, found.held, found.broken),
        held=found.held,
        margin=probe.margins.get(found.held, 0.0),
        accelerator_w=probe.watts.get(found.held, float("nan")),
        system=probe.prepared.system,
    )


def _between(probe: _Probe, held: int, broken: int) -> float:
    """Where the margin crosses 1 on the straight line of logarithms between two counts; the held one where a margin tells nothing."""
    above, below = probe.margins.get(held, 0.0), probe.margins.get(broken, 0.0)
    if not held or not broken or not 0 < below < 1 or not 1 <= above < math.inf:
        return float(held)
    share = math.log(above) / (math.log(above) - math.log(below))
    return float(held * (broken / held) ** share)


def _without_power(fleet: Fleet) -> tuple[object, ...]:
    pools = [tuple(value for name, value in pool._asdict().items() if name != "power") for pool in fleet.pools]
    return (pools, *(value for name, value in fleet._asdict().items() if name != "pools"))


def same(one: object, other: object) -> bool:
    """Whether two values of the engine are equal, arrays within them too."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) else bool(one == other)
