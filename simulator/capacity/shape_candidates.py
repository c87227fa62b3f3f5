"""The shapes that fit, each with what it holds on paper, and the layouts that do not fit, each with the reason. Inputs are a base, the
demand of a workload, and a space of shapes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from simulator.capacity.context import context_limit
from simulator.capacity.fleet import engine_fleet, engine_pools
from simulator.capacity.shape_base import Base
from simulator.capacity.shape_estimate import Estimate
from simulator.capacity.shape_paper import estimate
from simulator.capacity.shape_space import MIXED, PoolShape, Refused, Shape, Space, fits_budget, widths
from simulator.capacity.shape_split import decode_rate, decode_room, largest_batch, prefill_rate
from simulator.capacity.shape_terms import Terms
from simulator.engine.world import Fleet, Pool
from simulator.errors import UserError
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment
from simulator.hardware.model_card import ModelCard

NO_AGENTS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Candidate:
    """A shape that fits, and its estimate."""

    shape: Shape
    paper: Estimate


@dataclass(frozen=True)
class Layout:
    """A kind of worker that fits: its pool with one worker, as a shape and as the engine reads it, and the fleet it was tried in."""

    shape: PoolShape
    pool: Pool
    fleet: Fleet


@dataclass(frozen=True)
class Candidates:
    """All estimates, best first, and what was refused."""

    found: tuple[Candidate, ...]
    refused: tuple[Refused, ...]


def candidates(base: Base, model: ModelCard, terms: Terms, space: Space, by: str) -> Candidates:
    """Estimates every shape of the space.

    Parameters
    ----------
    by : {"gpu", "mw"}
        What the best shape has most agents per.
    """
    maker = _Maker(base, model, terms, space)
    found = [*maker.mixed(), *maker.split(by)]
    ranked = sorted(found, key=lambda c: (-c.paper.score(by), c.shape.gpus, str(c.shape)))
    return Candidates(tuple(ranked), tuple(maker.refused))


class _Maker:
    """Makes candidates, and gathers what is refused on the way."""

    def __init__(self, base: Base, model: ModelCard, terms: Terms, space: Space) -> None:
        self.base, self.model, self.terms, self.space = base, model, terms, space
        self.most = space.gpus or base.system.gpus
        self.longest = int((terms.demand.prompt_tokens + terms.demand.output_tokens).max())
        self.refused: list[Refused] = []

    def mixed(self) -> Iterator[Candidate]:
        """Mixed workers of every width, as many as the GPUs allow, with the chunk budget that holds most."""
        own = bool(self.base.deployment.pools_of("mixed"))
        template = self.base.template("mixed")
        chunk = self.base.template("prefill").token_budget
        queries = template.max_seqs * (1 + self.base.deployment.drafts)
        budgets = [template.token_budget] if own else [queries + int(chunk * rung) for rung in self.space.chunk_rungs]
        for layout in self._layouts(MIXED, budgets[-1]):
            width = layout.shape.gpus_per_worker
            workers = max(n for n in range(1, self.most // width + 1) if self._allowed(n * width))
            found = []
            for budget in budgets:
                pool = layout.pool._replace(workers=workers, sched=layout.pool.sched._replace(token_budget=budget))
                rated = estimate(self.terms, layout.fleet._replace(pools=(pool,)))
                shape = replace(layout.shape, workers=workers, token_budget=budget)
                found += [Candidate(Shape((shape,)), rated)] if rated else []
            yield max(found, key=lambda c: c.paper.agents)

    def split(self, by: str) -> Iterator[Candidate]:
        """Prefill and decode workers of every width, in the numbers that match best."""
        prefills = list(self._layouts("prefill", self.base.template("prefill").token_budget))
        decodes = list(self._layouts("decode", self.base.template("decode").token_budget)) if prefills else []
        decodes = [self._seated(layout) for layout in decodes]
        for prefill in prefills:
            for decode in decodes:
                for workers in range(1, self.space.most_decode_workers + 1):
                    yield from self._matched(prefill, decode, workers, by)

    def _matched(self, prefill: Layout, decode: Layout, decoders: int, by: str) -> Iterator[Candidate]:
        """Prefill workers for a number of decode workers: from just too few on, until more of them no longer pay."""
        fleet = decode.fleet._replace(pools=())
        room, _ = decode_room(self.terms, decode.fleet, decode.pool)
        need = decoders * decode_rate(self.terms, decode.pool, room) / prefill_rate(self.terms, prefill.pool)
        spare = (self.most - decoders * decode.shape.gpus_per_worker) // prefill.shape.gpus_per_worker
        best, falling = 0.0, 0
        for prefills in range(max(1, min(int(need), spare)), spare + 1):
            shape = Shape((replace(prefill.shape, workers=prefills), replace(decode.shape, workers=decoders)))
            if gcd(prefills, decoders) > 1 or not self._allowed(shape.gpus):
                continue
            pools = (prefill.pool._replace(workers=prefills), decode.pool._replace(workers=decoders))
            rated = estimate(self.terms, fleet._replace(pools=pools))
            if rated is None:
                continue
            yield Candidate(shape, rated)
            falling = falling + 1 if rated.score(by) <= best else 0
            best = max(best, rated.score(by))
            if falling > 1:
                return

    def _seated(self, layout: Layout) -> Layout:
        """A decode worker with the lowest rung of seats that does not bind on paper."""
        seats = self.base.template("decode").max_seqs
        rungs = sorted({max(1, round(seats * rung)) for rung in self.space.seat_rungs})
        needed = largest_batch(self.terms, layout.fleet, layout.pool)
        chosen = next((rung for rung in rungs if rung >= needed), rungs[-1])
        budget = max(layout.shape.token_budget, chosen * (1 + self.base.deployment.drafts))
        sched = layout.pool.sched._replace(max_seqs=chosen, token_budget=budget)
        return replace(layout, shape=replace(layout.shape, max_seqs=chosen, token_budget=budget), pool=layout.pool._replace(sched=sched))

    def _layouts(self, role: str, budget: int) -> Iterator[Layout]:
        """Workers of a role of every width and attention that fit."""
        template = self.base.template(role)
        for attention in self.space.attentions or tuple(dict.fromkeys(pool.attention for pool in self.base.deployment.pools)):
            for width in widths(self.base.system, min(self.most, self.space.widest or self.most)):
                worker = PoolShape(role, 1, width, attention, template.max_seqs, budget)
                if role != MIXED and not any(fits_budget(width + other, self.most, self.base.system) for other in range(1, self.most)):
                    continue
                try:
                    layout = self._tried(worker)
                except UserError as error:
                    self.refused.append(Refused(role, worker.layout, "; ".join(map(_said, error.mistakes))))
                else:
                    if layout:
                        yield layout

    def _tried(self, worker: PoolShape) -> Layout | None:
        """A worker in the smallest deployment with it; None, and noted, when the workload or the model does not fit it."""
        experts = self.model.routed_experts
        if experts % worker.gpus_per_worker:
            reason = f"{experts} experts do not share out evenly over {worker.gpus_per_worker} GPUs"
            self.refused.append(Refused(worker.role, worker.layout, reason))
            return None
        shape = self._probe(worker)
        deployment = load_deployment(self.base.mapping(shape), system=self.base.system, model=self.model)
        limit, says = context_limit(deployment)
        if limit < self.longest:
            reason = f"the longest call has {self.longest:,} tokens; room by {says}"
            self.refused.append(Refused(worker.role, worker.layout, reason))
            return None
        fleet = fleet_of(self.base, self.model, deployment)
        place = next(i for i, pool in enumerate(deployment.pools) if pool.role == worker.role)
        return Layout(worker, fleet.pools[place], fleet)

    def _probe(self, worker: PoolShape) -> Shape:
        """The smallest shape with a worker: beside one of the other role and the same width, or of what a system has left."""
        if worker.role == MIXED:
            return Shape((worker,))
        width, domain = worker.gpus_per_worker, self.base.system.gpus
        beside = width if 2 * width <= domain or width == domain else domain - width
        role = "decode" if worker.role == "prefill" else "prefill"
        template = self.base.template(role)
        other = replace(worker, role=role, gpus_per_worker=beside, max_seqs=template.max_seqs, token_budget=template.token_budget)
        return Shape(tuple(sorted((worker, other), key=lambda pool: pool.role == "decode")))

    def _allowed(self, gpus: int) -> bool:
        return fits_budget(gpus, self.most, self.base.system)


def fleet_of(base: Base, model: ModelCard, deployment: Deployment) -> Fleet:
    """The pools, routers and links of a deployment, with no agents."""
    return engine_fleet(deployment, engine_pools(base.system, model, deployment), NO_AGENTS, NO_AGENTS)


def _said(mistake: object) -> str:
    """A mistake without the file it stands in, which is that of the base."""
    return str(mistake).split(": ", 1)[-1]
