"""Rows for CSV: answers, search points and series. Inputs are `simulator.capacity.results` or their JSON mappings."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.capacity.results import Answer, Series
from simulator.report.phrases import plain, tier


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header of the first row's keys; a cell that a spreadsheet would run as a formula starts with an apostrophe."""
    rows = list(rows)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, [_cell(key) for key in rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({_cell(key): _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Numbers as they are, empty for what is missing; text without control characters and without a formula."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") and text.strip() else text


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one row: ``{"slo": {"ttft_s": 5}}`` becomes ``{"slo_ttft_s": 5}``; lists are joined by blanks."""
    row: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{key}_")
        elif isinstance(value, list | tuple):
            row[prefix + key] = " ".join(map(str, value))
        else:
            row[prefix + key] = value
    return row


def same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with all keys of any row, in the order in which they first come."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def point_rows(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """One row for each phase of each search."""
    return [
        {
            "system": answer.system,
            "deployment": answer.deployment,
            "slo": tier(answer.slo),
            "agents": point.agents,
            "seed": point.seed,
            "held": int(point.held),
            "speed_tok_s": point.speed_tok_s,
            "ttft_s": point.ttft_s,
            "calls": point.calls,
            "output_tok_s": point.output_tok_s,
            "scout": int(point.scout),
        }
        for answer in answers
        for point in answer.points
    ]


def series_rows(series: Series) -> list[dict[str, float]]:
    """One row for each bin of an operating point's levels over time."""
    names = ("time_s", "decode_batch", "waiting_calls", "kv_used_share", "cache_hit", "accelerator_w", "output_tok_s")
    columns = [getattr(series, name).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
