"""What the figures of answers and operating points draw, as tables for their CSV. Inputs are answers and operating points."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from simulator.capacity.results import Answer, Summary
from simulator.report.load_figures import Case, stretched
from simulator.report.phrases import BASES, tier
from simulator.report.service_figures import SHARES, sides

Row = dict[str, Any]


def bases_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row for each basis of each answer: agents per MW, and the interval where there is one."""
    rows: list[Row] = []
    for answer in answers:
        for basis in BASES:
            low, high = answer.agents_per_mw_interval.get(basis, (None, None))
            value = getattr(answer.agents_per_mw, basis)
            rows.append({**_of(answer), "basis": basis, "agents_per_mw": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def distributions_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row for each drawn point of each distribution: the percentage of calls that were at most so fast, or waited at most so long."""
    rows: list[Row] = []
    for answer in answers:
        for side in sides(answer) if answer.held else ():
            samples = side.of_call(answer.held) if answer.held else np.empty(0)
            known = samples[np.isfinite(samples)]
            values = np.percentile(known, SHARES) if known.size else ()
            own = {**_of(answer), "agents": answer.agents_held, "quantity": side.title, "unit": side.unit}
            rows += [{**own, "calls_percent": share, "value": value} for share, value in zip(SHARES, values, strict=False)]
    return pd.DataFrame(rows)


def shares_frame(cases: Sequence[Case]) -> pd.DataFrame:
    """One row for each term of each pool's step time, and for each reason that holds its first waiting call back: shares of time."""
    rows: list[Row] = []
    for case in cases:
        for place, (_, *parts) in enumerate(case.bars):
            own = {"system": case.system, "slo": case.tier, "agents": case.point.agents, "pool": case.point.pools[place].name}
            for kind, shares in zip(("step time", "first waiting call"), parts, strict=True):
                rows += [{**own, "of": kind, "part": part, "share": share} for part, share in shares.items()]
    return pd.DataFrame(rows)


def stages_frame(points: Sequence[Summary]) -> pd.DataFrame:
    """One row for each stage before and after the first token: seconds in the mean, and around the percentile that the SLO judges."""
    rows: list[Row] = []
    for point in points:
        own = {"system": point.system, "deployment": point.deployment, "slo": tier(point.slo), "agents": point.agents}
        for part, spent in (("send to first token", point.ttft_stages_s), ("first token to last", point.speed_stages_s)):
            for which, stages in spent.items():
                rows += [{**own, "part": part, "calls": which, "stage": stage, "seconds": value} for stage, value in stages.items()]
    return pd.DataFrame(rows)


def levels_frame(summaries: Sequence[Summary]) -> pd.DataFrame:
    """One row for each drawn stretch of time: levels of each operating point, and KV use and watts of its pools where it has several."""
    frames = []
    for summary in summaries:
        own: dict[str, Any] = {"system": summary.system, "deployment": summary.deployment, "agents": summary.agents}
        levels = {name: stretched(np.asarray(values)) for name, values in vars(summary.series).items()}
        for pool in summary.pools if len(summary.pools) > 1 else ():
            levels |= {f"{name}_{pool.name}": stretched(getattr(pool.series, name)) for name in ("kv_used_share", "accelerator_w")}
        frames.append(pd.DataFrame(own | levels))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def watts_frame(time_s: Any, power_w: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each drawn stretch of time: watts of the whole set-up on each basis."""
    levels = {"time_s": time_s, **{f"{basis}_w": watts for basis, watts in power_w.items()}}
    return pd.DataFrame({name: stretched(np.asarray(values)) for name, values in levels.items()})


def _of(answer: Answer) -> Row:
    return {"system": answer.system, "deployment": answer.deployment, "slo": tier(answer.slo)}
