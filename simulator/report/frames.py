"""Tables for analysis, as pandas frames: calls, phases of a search, levels over time, flat answers. Inputs are outputs and answers."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.capacity.requests import output_speed_tok_s, to_seconds
from simulator.capacity.results import Answer, Comparison, Series, Summary, Uncertainty
from simulator.engine.world import Output, call_columns
from simulator.report.phrases import tier

__all__ = [
    "calls_frame",
    "flat_frame",
    "interval_frame",
    "points_frame",
    "pool_series_frame",
    "pools_frame",
    "series_frame",
    "tornado_frame",
]


def calls_frame(output: Output) -> pd.DataFrame:
    """One row for each finished call, in the order of finishing.

    Parameters
    ----------
    output : Output
        As `simulator.play` or an engine returns it: the ramp's calls are in it too.

    Returns
    -------
    DataFrame
        The engine's columns with times in seconds (``send_s admit_s first_s last_s ..``; nan for what never happened to a call), and
        ``ttft_s``, ``queue_s`` (first admission less send) and ``output_speed_tok_s``, which is nan for a call with one output token.

    Examples
    --------
    >>> from simulator import calls_frame, load_scenario, play
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> calls = calls_frame(play(load_scenario("capacity_h200", small), agents=1))
    >>> calls[["agent", "play", "prompt_tokens", "output_tokens"]].head(2).values.tolist()
    [[0, 0, 2000, 50], [0, 1, 2000, 50]]
    >>> bool((calls.ttft_s > 0).all())
    True
    """
    column = call_columns(output.calls)
    frame = pd.DataFrame(
        {name.replace("_ps", "_s"): _known_seconds(values) if name.endswith("_ps") else values for name, values in column.items()}
    )
    frame["ttft_s"] = to_seconds(column["first_ps"] - column["send_ps"])
    frame["queue_s"] = to_seconds(column["admit_ps"] - column["send_ps"])
    frame["output_speed_tok_s"] = output_speed_tok_s(column["first_ps"], column["last_ps"], column["output_tokens"])
    return frame


def _known_seconds(picoseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(picoseconds < 0, np.nan, to_seconds(picoseconds))


def points_frame(answers: Iterable[Answer]) -> pd.DataFrame:
    """One row for each phase of each search."""
    return pd.DataFrame(
        [
            {"system": answer.system, "deployment": answer.deployment, "slo": tier(answer.slo), **asdict(point)}
            for answer in answers
            for point in answer.points
        ]
    )


def series_frame(series: Series, power_w: Mapping[str, NDArray[np.float64]] | None = None) -> pd.DataFrame:
    """One row for each bin of an operating point's levels over time; with ``power_w`` the watts of the whole set-up on each basis too."""
    power = {f"power_{basis}_w": watts for basis, watts in (power_w or {}).items()}
    return pd.DataFrame(vars(series) | power)


def pool_series_frame(summary: Summary) -> pd.DataFrame:
    """One row for each bin of each pool's levels over time."""
    return pd.concat([series_frame(pool.series).assign(pool=pool.name) for pool in summary.pools], ignore_index=True)


def pools_frame(points: Iterable[Summary]) -> pd.DataFrame:
    """One row for each pool of each operating point."""
    rows = [
        {"system": point.system, "deployment": point.deployment, "slo": tier(point.slo), "agents": point.agents}
        | {key: value for key, value in vars(pool).items() if key != "series"}
        | {"binds": pool.name == point.binding_pool}
        for point in points
        for pool in point.pools
    ]
    return flat_frame(rows)


def interval_frame(comparison: Comparison) -> pd.DataFrame:
    """One row for each quantity of each answer and ratio: its value, and its percentiles over draws from the profiles."""
    return pd.DataFrame(
        [
            {"of": found.of, "slo": name, "quantity": key, "nominal": found.nominal[key], **asdict(interval)}
            for name, found in _uncertain(comparison)
            for key, interval in found.intervals.items()
        ]
    )


def tornado_frame(comparison: Comparison) -> pd.DataFrame:
    """One row for each quantity of each answer and ratio under each group of fields moved alone, at its better and its worse end."""
    return pd.DataFrame(
        [
            {"of": found.of, "slo": name, "profile": swing.profile, "fields": " ".join(swing.fields), "quality": swing.quality}
            | {"better_factor": swing.factors[0], "worse_factor": swing.factors[1], "quantity": key, "nominal": found.nominal[key]}
            | {"better": ends[0], "worse": ends[1]}
            for name, found in _uncertain(comparison)
            for swing in found.swings
            for key, ends in swing.values.items()
        ]
    )


def _uncertain(comparison: Comparison) -> list[tuple[str, Uncertainty]]:
    own = [(tier(answer.slo), answer.uncertainty) for answer in comparison.answers]
    ratios = [(row["tier"], found) for row, found in zip(comparison.ratios, comparison.uncertainty, strict=False)]
    return [(name, found) for name, found in (*own, *ratios) if found]


def flat_frame(documents: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each JSON mapping, with the columns of all.

    ``{"slo": {"ttft_s": 5}}`` becomes ``slo_ttft_s``, lists become words; a list of mappings is a table of its own and left out.
    """
    return pd.DataFrame([_flat(document, "") for document in documents], dtype=object)


def _flat(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            row |= _flat(value, f"{prefix}{key}_")
        elif not (isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value)):
            row[prefix + key] = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return row
