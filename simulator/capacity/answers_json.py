"""Answers as plain values for `--json`: fixed keys in a fixed order, rounded so that the text is the same everywhere."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from simulator.capacity.hold import BASES
from simulator.capacity.results import Answer, Comparison, PowerBases, Sprint, Summary, Uncertainty

DIGITS = 6
"""Significant digits of a float; what the last bits of a sum say differs between machines and means nothing."""


def rounded(value: Any) -> Any:
    """A value with its floats rounded to `DIGITS` significant digits; nan and infinity, which JSON lacks, become None."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def answer_json(answer: Answer) -> dict[str, Any]:
    """One answer of `capacity` or `compare`; pools, stages and calls in flight are those of the held point, null when nothing holds."""
    return dict(
        rounded(
            {
                "system": answer.system,
                "model": answer.model,
                "deployment": answer.deployment,
                "slo": answer.slo,
                "agents_held": answer.agents_held,
                "interval": answer.interval,
                "gpus": answer.gpus,
                "agents_per_gpu": answer.agents_per_gpu,
                "agents_per_mw": _bases(answer.agents_per_mw),
                "accelerator_w_per_gpu": answer.accelerator_w_per_gpu,
                "cache_hit": answer.cache_hit,
                "limiter": answer.limiter,
                "binding": answer.binding,
                "quality": answer.quality,
                "seeds": answer.seeds,
                "interval_kind": answer.interval_kind,
                "agents_per_mw_interval": {basis: answer.agents_per_mw_interval[basis] for basis in BASES},
                "goodput_agents": answer.goodput_agents,
                "goodput_output_tok_s": answer.goodput_output_tok_s,
                "knee_agents": answer.knee_agents,
                "knee_distance": answer.knee_distance,
                "knee_reached": answer.knee_reached,
                "monotone": answer.monotone,
                "sentence": answer.sentence,
                "engine": answer.engine,
                "binding_pool": answer.binding_pool,
                "badge": answer.badge,
                "badge_because": answer.badge_because,
                "notes": point.notes if (point := answer.held or answer.broken) else (),
                "uncertainty": _uncertainty(answer.uncertainty),
                **_inside(answer.held),
                **({} if answer.attribution is None else {"attribution": asdict(answer.attribution)}),
            }
        )
    )


def summary_json(summary: Summary) -> dict[str, Any]:
    """One operating point of `run`: the keys of an answer, then what only a point has.

    ``agents_held`` is the point's own count when it meets the SLO and 0 when not; `capacity` searches for the largest.
    """
    held = summary.agents if summary.held else 0
    return dict(
        rounded(
            {
                "system": summary.system,
                "model": summary.model,
                "deployment": summary.deployment,
                "slo": summary.slo,
                "agents": summary.agents,
                "agents_held": held,
                "interval": (held, held),
                "gpus": summary.gpus,
                "agents_per_gpu": summary.agents / summary.gpus,
                "agents_per_mw": _bases(summary.agents_per_mw),
                "ttft_s": {key: summary.ttft_s[key] for key in ("mean", "p50", "p90", "p95")},
                "output_speed_tok_s": {key: summary.output_speed_tok_s[key] for key in ("p25", "p50", "mean")},
                "tpot_s": {key: summary.tpot_s[key] for key in ("mean", "p50", "p90")},
                "output_tok_s": summary.output_tok_s,
                "logical_tok_s": summary.logical_tok_s,
                "requests": summary.requests,
                "preemptions": summary.preemptions,
                "energy_j": summary.energy_j,
                "accelerator_w_per_gpu": summary.watts_per_gpu.accelerator,
                "watts_per_gpu": _bases(summary.watts_per_gpu),
                "cache_hit": summary.cache_hit,
                "cache_hit_possible": summary.cache_hit_possible,
                "limiter": summary.limiter,
                "binding": summary.binding,
                "quality": summary.quality,
                "seeds": summary.seeds,
                "window_s": summary.window_s,
                "trajectories": summary.trajectories,
                "e2e_speed_tok_s": {key: summary.e2e_speed_tok_s[key] for key in ("p25", "p50", "mean")},
                "goodput_agents": summary.goodput_agents,
                "goodput_output_tok_s": summary.goodput_output_tok_s,
                "utilisation": summary.utilisation,
                "decode_batch_per_rank": summary.decode_batch_per_rank,
                "step_shares": summary.step_shares,
                "blocked_shares": summary.blocked_shares,
                "cut_trajectories": summary.cut_trajectories,
                "notes": summary.notes,
                "engine": summary.engine,
                "binding_pool": summary.binding_pool,
                "why": summary.why,
                "host_hit": summary.host_hit,
                "badge": summary.badge,
                "badge_because": summary.badge_because,
                **_inside(summary),
            }
        )
    )


def _inside(point: Summary | None) -> dict[str, Any]:
    """What an operating point shows of its pools and of the stages of its calls."""
    if point is None:
        return dict.fromkeys(("calls_in_flight", "stages_s", "ttft_stages_s", "speed_stages_s", "pools", "energy"))
    return {
        "calls_in_flight": point.calls_in_flight,
        "stages_s": point.stages_s,
        "ttft_stages_s": point.ttft_stages_s,
        "speed_stages_s": point.speed_stages_s,
        "pools": [{key: value for key, value in vars(pool).items() if key != "series"} for pool in point.pools],
        "energy": None if point.energy is None else asdict(point.energy),
    }


def _uncertainty(found: Uncertainty | None) -> dict[str, Any] | None:
    """Percentiles over draws from the profiles, and each group of fields alone at its better and its worse end; None: not asked."""
    if found is None:
        return None
    intervals = {key: {"nominal": found.nominal[key], **asdict(interval)} for key, interval in found.intervals.items()}
    tornado = [{**{k: v for k, v in vars(swing).items() if k != "values"}, **swing.values} for swing in found.swings]
    return {"samples": found.samples, "seed": found.seed, **intervals, "tornado": tornado}


def _ratios(comparison: Comparison) -> list[tuple[dict[str, Any], Uncertainty | None]]:
    found = comparison.uncertainty or (None,) * len(comparison.ratios)
    return list(zip(comparison.ratios, found, strict=True))


def sprint_json(sprint: Sprint) -> dict[str, Any]:
    """Both sprint tests of one system."""
    return dict(rounded(asdict(sprint)))


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A whole comparison."""
    return {
        "answers": [answer_json(answer) for answer in comparison.answers],
        "sprints": [sprint_json(sprint) for sprint in comparison.sprints],
        "ratios": [rounded(row | {"uncertainty": _uncertainty(found)}) for row, found in _ratios(comparison)],
        **_studied(comparison),
    }


def _studied(comparison: Comparison) -> dict[str, Any]:
    """What was studied besides; no key where nobody asked."""
    parts: dict[str, tuple[Any, ...]] = {"studies": comparison.studies, "costs": comparison.costs, "contrasts": comparison.contrasts}
    return {name: [rounded(asdict(item)) for item in items] for name, items in parts.items() if items}


def _bases(bases: PowerBases) -> dict[str, float]:
    return {basis: getattr(bases, basis) for basis in BASES}
