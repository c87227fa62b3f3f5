"""Tables of the inside of a deployment with several pools: each pool, and the stages of a call. Inputs are operating points."""

from collections.abc import Sequence

from simulator.capacity.results import Answer, Summary
from simulator.report.phrases import number, percent, plain, tier, words
from simulator.report.tables import Sheet

Shown = tuple[str, Summary]
"""An operating point and what it is: ``held``, ``broken``, or empty."""

POOLS = (
    "*: the pool that binds; steps: share of the time in which a worker has a step running; slow rank: share of the stepping time in "
    "which a rank waits for its worker's slowest one; calls/rank: decoding calls on a rank/its batch slots; KV: share of a rank's blocks "
    "that calls hold while it steps, and the largest seen; link: share of the time in which a port moves KV; shows most: by the rules "
    "for a pool alone"
)

STAGES = (
    "seconds, over all calls sent in the window (a call that skips a stage spends 0 in it); routing takes no time; the means add up; "
    "the last column is what the TTFT of the calls at the percentile that the SLO judges is made of"
)


def inside(answer: Answer) -> list[Sheet]:
    """Both tables of an answer; none when its deployment is a single pool."""
    points = [(name, point) for name, point in (("held", answer.held), ("broken", answer.broken)) if point is not None]
    return _sheets(points, f" of {plain(answer.system)} at {tier(answer.slo)}") if points else []


def inside_run(summary: Summary) -> list[Sheet]:
    """Both tables of one operating point; none when its deployment is a single pool."""
    return _sheets([("", summary)], "")


def _sheets(points: Sequence[Shown], where: str) -> list[Sheet]:
    return [pool_sheet(points, where), stage_sheet(points, where)] if len(points[0][1].pools) > 1 else []


def pool_sheet(points: Sequence[Shown], where: str = "") -> Sheet:
    """One row a pool and operating point: how busy it is, what it holds, draws and moves, and what shows most in it."""
    host = any(pool.host_share or pool.host_stored_blocks for _, point in points for pool in point.pools)
    rows = tuple(
        (
            plain(pool.name) + (" *" if name != "held" and pool.name == point.binding_pool else ""),
            f"{point.agents:,} {name}".strip(),
            f"{pool.gpus}",
            _whole(pool.utilisation),
            _whole(pool.lockstep_wait_share),
            number(pool.watts_per_gpu),
            f"{number(pool.decode_batch_per_rank)}/{pool.max_seqs}" if pool.role != "prefill" else "–",
            _whole(pool.kv_used_share),
            _whole(pool.kv_peak_share),
            percent(pool.link_share),
            *([_whole(pool.host_share)] if host else []),
            number(pool.prefill_tok_s),
            number(pool.decode_tok_s),
            words(pool.limiter),
        )
        for name, point in points
        for pool in point.pools
    )
    columns = (
        "pool", "agents at\nthis point", "GPUs", "steps", "slow\nrank", "W/GPU", "calls\n/rank", "KV\nused", "KV\npeak", "link",
        *(["host\ntier"] if host else []), "prefill\ntok/s", "decode\ntok/s", "shows most",
    )  # fmt: skip
    return Sheet(f"Pools{where}", columns, rows, "lr" + "r" * (len(columns) - 3) + "l", POOLS)


def stage_sheet(points: Sequence[Shown], where: str = "") -> Sheet:
    """One row a stage of a call, with mean, median and P95 of its time at each operating point, and its part in a slow TTFT at the last."""
    last = points[-1][1]
    rows = [
        (
            words(stage),
            *(_seconds(point.stages_s[stage][key]) for _, point in points for key in ("mean", "p50", "p95")),
            _seconds(last.ttft_stages_s["tail"][stage]) if stage in last.ttft_stages_s["tail"] else "–",
        )
        for stage in last.stages_s
    ]
    blank = ("", "")
    total = [text for _, point in points for text in (number(sum(s["mean"] for s in point.stages_s.values())), *blank)]
    rows.append(("together", *total, number(sum(last.ttft_stages_s["tail"].values()))))
    columns = ["stage"]
    for name, point in points:
        columns += [f"{point.agents:,} {name}\nmean" if name else "mean", "P50", "P95"]
    in_flight = "; ".join(f"{number(point.calls_in_flight)} of {point.agents:,} agents" for _, point in points)
    note = f"{STAGES}; calls in flight on average: {in_flight}"
    return Sheet(f"Stages of a call{where}", (*columns, "in a slow\nTTFT"), tuple(rows), "l" + "r" * (len(columns)), note)


def _whole(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(value: float) -> str:
    """Three digits, but nothing below a millisecond."""
    if 0 < value < 0.0005:
        return "<0.001"
    return number(value) if value >= 0.0995 or value == 0 else f"{value:.3f}"
