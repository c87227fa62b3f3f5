"""What a sweep keeps of the answer of a point: a row of named columns with fixed kinds. Inputs are scenarios.

Values are those of `--json`, so a row says to the digit what `capacity` or `run` says of the same scenario.
"""

from collections.abc import Mapping
from typing import Any

from simulator.capacity.answers_json import answer_json, summary_json
from simulator.capacity.hold import BASES, capacity
from simulator.capacity.point import Progress, run
from simulator.capacity.scenario import Scenario
from simulator.errors import UserError

Row = dict[str, Any]
"""Column -> value; None where there is none."""

ANSWERED, CANNOT_RUN = "answered", "cannot run"


def _bases(column: str, path: str) -> dict[str, tuple[str, str]]:
    return {f"{column}_{basis}": (f"{path}.{basis}", "number") for basis in BASES}


def _stats(column: str, *names: str) -> dict[str, tuple[str, str]]:
    return {f"{column}_{name}": (f"{column}.{name}", "number") for name in names}


_SERVED = {
    "system": ("system", "text"),
    "model": ("model", "text"),
    "deployment": ("deployment", "text"),
    "engine": ("engine", "text"),
    **{f"slo_{name}": (f"slo.{name}", "number") for name in ("speed_tok_s", "speed_percentile", "ttft_s", "ttft_percentile")},
    **{f"slo_{name}": (f"slo.{name}", "number") for name in ("e2e_speed_tok_s", "e2e_percentile")},
    "agents_held": ("agents_held", "count"),
}
_ENERGY = {
    **_bases("trajectory_j", "energy.trajectory_j"),
    **_bases("million_output_tokens_j", "energy.million_output_tokens_j"),
}
_GROUNDS = {"quality": ("quality", "text"), "badge": ("badge", "text")}

COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "capacity": {
        **_SERVED,
        "agents_held_low": ("interval.0", "count"),
        "agents_held_high": ("interval.1", "count"),
        "gpus": ("gpus", "count"),
        "agents_per_gpu": ("agents_per_gpu", "number"),
        **_bases("agents_per_mw", "agents_per_mw"),
        "agents_held_p10": ("uncertainty.agents_held.p10", "number"),
        "agents_held_p90": ("uncertainty.agents_held.p90", "number"),
        "agents_per_mw_accelerator_p10": ("uncertainty.agents_per_mw_accelerator.p10", "number"),
        "agents_per_mw_accelerator_p90": ("uncertainty.agents_per_mw_accelerator.p90", "number"),
        "accelerator_w_per_gpu": ("accelerator_w_per_gpu", "number"),
        "cache_hit": ("cache_hit", "number"),
        "limiter": ("limiter", "text"),
        "binding": ("binding", "text"),
        "binding_pool": ("binding_pool", "text"),
        "goodput_agents": ("goodput_agents", "number"),
        "goodput_output_tok_s": ("goodput_output_tok_s", "number"),
        "knee_agents": ("knee_agents", "count"),
        "knee_distance": ("knee_distance", "number"),
        "knee_reached": ("knee_reached", "truth"),
        "monotone": ("monotone", "truth"),
        "calls_in_flight": ("calls_in_flight", "number"),
        **_ENERGY,
        **_GROUNDS,
        "sentence": ("sentence", "text"),
    },
    "run": {
        **_SERVED,
        "agents": ("agents", "count"),
        "gpus": ("gpus", "count"),
        "agents_per_gpu": ("agents_per_gpu", "number"),
        **_bases("agents_per_mw", "agents_per_mw"),
        **_stats("ttft_s", "mean", "p50", "p90", "p95"),
        **_stats("output_speed_tok_s", "p25", "p50", "mean"),
        **_stats("tpot_s", "mean", "p50", "p90"),
        **_stats("e2e_speed_tok_s", "p25", "p50", "mean"),
        "output_tok_s": ("output_tok_s", "number"),
        "logical_tok_s": ("logical_tok_s", "number"),
        "requests": ("requests", "count"),
        "trajectories": ("trajectories", "count"),
        "window_s": ("window_s", "number"),
        "preemptions": ("preemptions", "count"),
        **_bases("watts_per_gpu", "watts_per_gpu"),
        "energy_j": ("energy_j", "number"),
        "cache_hit": ("cache_hit", "number"),
        "cache_hit_possible": ("cache_hit_possible", "number"),
        "host_hit": ("host_hit", "number"),
        "utilisation": ("utilisation", "number"),
        "decode_batch_per_rank": ("decode_batch_per_rank", "number"),
        "limiter": ("limiter", "text"),
        "binding": ("binding", "text"),
        "binding_pool": ("binding_pool", "text"),
        "goodput_agents": ("goodput_agents", "number"),
        "goodput_output_tok_s": ("goodput_output_tok_s", "number"),
        "calls_in_flight": ("calls_in_flight", "number"),
        **_ENERGY,
        **_GROUNDS,
    },
}
"""Question -> column -> its place in the JSON answer, and its kind: text, count (a whole number), number or truth."""


def answer_point(scenario: Scenario, ask: str, progress: Progress | None = None) -> Row:
    """The row of one point; of one that cannot run, the reason.

    Parameters
    ----------
    scenario : Scenario
    ask : {"capacity", "run"}
    progress : callable, optional
        Told after every phase.
    """
    try:
        answer = answer_json(capacity(scenario, progress, jobs=1)) if ask == "capacity" else summary_json(run(scenario, progress=progress))
    except UserError as error:
        return refused(ask, reason_of(error))
    found = {column: _kind(_at(answer, path), kind) for column, (path, kind) in COLUMNS[ask].items()}
    return {"status": ANSWERED, "reason": "", **found}


def refused(ask: str, reason: str) -> Row:
    """The row of a point that cannot run."""
    return {"status": CANNOT_RUN, "reason": reason, **dict.fromkeys(COLUMNS[ask])}


def reason_of(error: UserError) -> str:
    """All mistakes of an error in one line."""
    return " | ".join(str(mistake) for mistake in error.mistakes)


def _at(answer: Any, path: str) -> Any:
    for key in path.split("."):
        if answer is None:
            return None
        answer = answer[int(key)] if isinstance(answer, list) else answer.get(key)
    return answer


def _kind(value: Any, kind: str) -> Any:
    """A number of a number column as a float, whatever it was written as."""
    return float(value) if kind == "number" and value is not None else value
