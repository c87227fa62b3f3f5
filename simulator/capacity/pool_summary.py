"""What people read off each pool and each stage at one operating point. Inputs are a steady window and its scenario."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.binding import Lost
from simulator.capacity.build import Prepared
from simulator.capacity.limiter import Pressure, find_limiter
from simulator.capacity.metrics import Window
from simulator.capacity.pool_window import PoolWindow
from simulator.capacity.results import PoolSummary
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT
from simulator.capacity.stages import at_percentile

USUAL_PERCENTILE = {TTFT: 95.0, SPEED: 25.0}
"""Which calls' waits are told when the SLO has no clause on the quantity."""


def pool_summaries(prepared: Prepared, window: Window) -> tuple[PoolSummary, ...]:
    """Every pool of the deployment, in its order."""
    names = [pool.name for pool in prepared.deployment.pools]
    hits = window.cached_tokens / window.prompt_tokens, prepared.cache_hit_possible
    return tuple(_pool(name, pool, *hits) for name, pool in zip(names, window.pools, strict=True))


def _pool(name: str, pool: PoolWindow, cache_hit: float, cache_hit_possible: float) -> PoolSummary:
    if pool.role == "decode":
        cache_hit = cache_hit_possible = 0.0
    rate = {
        column: pool.totals[column] / pool.window_s for column in ("prefill_tokens", "decode_tokens", "moved_tokens", "host_loaded_tokens")
    }
    step_shares, blocked_shares = pool.step_shares, pool.blocked_shares
    pressure = Pressure(step_shares, blocked_shares, cache_hit, cache_hit_possible)
    return PoolSummary(
        name=name,
        role=pool.role,
        gpus=pool.gpus,
        workers=pool.workers,
        ranks=pool.ranks,
        max_seqs=pool.max_seqs,
        utilisation=pool.busy_share,
        watts_per_gpu=pool.accelerator_w,
        step_shares=step_shares,
        blocked_shares=blocked_shares,
        lockstep_wait_share=pool.lockstep_wait_share,
        decode_batch_per_rank=pool.decode_batch_per_rank,
        kv_used_share=pool.kv_used_share,
        kv_peak_share=pool.kv_peak_share,
        link_share=pool.link_share,
        moved_tok_s=rate["moved_tokens"],
        host_share=pool.host_share,
        host_loaded_tok_s=rate["host_loaded_tokens"],
        host_stored_blocks=pool.totals["host_stored_blocks"],
        prefill_tok_s=rate["prefill_tokens"],
        decode_tok_s=rate["decode_tokens"],
        preemptions=pool.totals["preemptions"],
        limiter=find_limiter(pressure)[0] if pool.busy_share else "",
        series=pool.series,
    )


def spent_s(window: Window, slo: SLO, quantity: str) -> dict[str, dict[str, float]]:
    """What calls spend the time on that a quantity counts: ``mean`` of all, ``tail`` of those at the percentile that the SLO judges.

    `TTFT` counts from send to first token, `SPEED` from first token to last, `E2E_SPEED` both.
    """
    parts = _counted(window, quantity)
    percentile = next((c.percentile for c in slo.clauses if c.quantity == quantity), USUAL_PERCENTILE[quantity])
    tail = parts[at_percentile(window.samples[quantity], percentile)]
    return {"mean": dict(_means(window.stages, parts)), "tail": dict(_means(window.stages, tail))}


def _counted(window: Window, quantity: str) -> NDArray[np.float64]:
    """The part of each call's stages that a quantity counts, shape (requests, stages)."""
    if quantity == E2E_SPEED:
        return window.stage_s
    return window.ahead_s if quantity == TTFT else window.after_s


def lost_time(window: Window, slo: SLO, clause: str) -> Lost:
    """Where the calls at the percentile of a clause spend the time that the clause counts."""
    judged = next(c for c in slo.clauses if c.quantity == clause)
    counted = _counted(window, clause)
    calls = at_percentile(window.samples[clause], judged.percentile)
    return Lost(
        clause=clause,
        percentile=judged.percentile,
        stages_s=dict(_means(window.stages, counted[calls])),
        mean_s=dict(_means(window.stages, window.stage_s)),
        waitless_speed_tok_s=_waitless_speed(window, counted, judged.percentile) if clause == SPEED else float("nan"),
        floor_tok_s=judged.limit,
    )


def _waitless_speed(window: Window, after_first: NDArray[np.float64], percentile: float) -> float:
    """The percentile of the output speed if calls spent nothing between first and last token but decode steps."""
    decoding = np.array([name in ("first_decode", "decode") for name in window.stages])
    seconds = after_first[:, decoding].sum(axis=1)
    some = (window.output_tokens > 1) & (seconds > 0)
    return float(np.percentile((window.output_tokens[some] - 1) / seconds[some], percentile)) if some.any() else float("nan")


def _means(stages: tuple[str, ...], seconds: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    """Mean of each stage that can take part; a stage that none of the calls spent any of this time in is left out."""
    for i, name in enumerate(stages):
        mean = float(seconds[:, i].mean()) if len(seconds) else 0.0
        if mean > 0:
            yield name, mean
