"""The answer of a shape search as plain values for `--json`."""

from typing import Any

from simulator.capacity.answers_json import rounded
from simulator.capacity.hold import BASES
from simulator.capacity.results import Answer
from simulator.capacity.shape import ShapeAnswer, Tried
from simulator.capacity.shape_estimate import Estimate


def shape_json(found: ShapeAnswer) -> dict[str, Any]:
    """Finalists, best first, with the deployment of each; then runners-up, and what was refused."""
    return dict(
        rounded(
            {
                "system": found.system,
                "model": found.model,
                "slo": found.slo,
                "engine": found.engine,
                "by": found.by,
                "gpus": found.gpus,
                "seeds": found.seeds,
                "rated": found.rated,
                "best": found.best.name,
                "paper_over_simulation": found.gap,
                "base": _row(found, found.base),
                "finalists": [_row(found, tried) for tried in found.finalists],
                "runners_up": [_row(found, tried) for tried in found.runners_up],
                "refused": [vars(refused) for refused in found.refused],
                "cautions": found.cautions,
            }
        )
    )


def _row(found: ShapeAnswer, tried: Tried) -> dict[str, Any]:
    pools = tried.shape.pools if tried.shape else ()
    return {
        "name": tried.name,
        "kind": tried.shape.kind if tried.shape else None,
        "pools": [{**vars(pool), "layout": pool.layout, "ranks": pool.ranks} for pool in pools],
        "gpus": tried.gpus,
        "copies": found.gpus // tried.gpus,
        "paper": _paper(tried.paper),
        "held": _held(tried.answer),
        "paper_over_held": tried.ratio,
        "dominated": found.dominated(tried) if tried.answer else None,
        "deployment": tried.deployment or None,
    }


def _paper(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    load = {key: value for key, value in vars(estimate.load).items() if key not in ("agents", "broken")}
    return {
        "agents": estimate.agents,
        "agents_per_gpu": estimate.agents_per_gpu,
        "agents_per_mw_accelerator": estimate.agents_per_mw,
        "binding_pool": estimate.pool,
        "binding": estimate.by,
        **load,
    }


def _held(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "agents": answer.agents_held,
        "agents_per_gpu": answer.agents_per_gpu,
        "agents_per_mw": {basis: getattr(answer.agents_per_mw, basis) for basis in BASES},
        "accelerator_w_per_gpu": answer.accelerator_w_per_gpu,
        "cache_hit": answer.cache_hit,
        "limiter": answer.limiter,
        "binding_pool": answer.binding_pool,
        "binding": answer.binding,
        "quality": answer.quality,
        "sentence": answer.sentence,
    }
