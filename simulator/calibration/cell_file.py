"""Rows of a calibration run as lines of JSON: ``requests.jsonl`` and ``cells.jsonl``. Inputs are rows, or the text of those files.

A request's line has our row under ``row``, and beside it what AIPerf's ``profile_export.jsonl`` says of a request, under its names.
"""

import json
from dataclasses import asdict
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from simulator.calibration.cell import CellRow, Endpoint, RequestRow
from simulator.errors import Mistake, UserError

MOST_NUMBER = 1e18
"""Numbers in rows are seconds, tokens and counters: none of them gets that large, and whole numbers below fit 64 bits."""
Row = TypeVar("Row", RequestRow, CellRow, Endpoint)


def request_line(row: RequestRow, epoch_s: float) -> str:
    """A request as one line; ``epoch_s`` is the wall clock's time when the run's clock began."""
    value = {"row": asdict(row), "metadata": _metadata(row, epoch_s), "metrics": _metrics(row), "error": _error(row)}
    return json.dumps(value, allow_nan=False) + "\n"


def cell_line(row: CellRow) -> str:
    """A cell as one line."""
    return json.dumps(asdict(row), allow_nan=False) + "\n"


def endpoint_text(endpoint: Endpoint) -> str:
    """What a probe found out, as a JSON document."""
    return json.dumps(asdict(endpoint), indent=2, allow_nan=False) + "\n"


def read_requests(text: str, name: str = "requests.jsonl") -> list[RequestRow]:
    """The requests of a file; a last line that was cut off is left out."""
    return [_row(RequestRow, value.get("row"), name, line) for line, value in _lines(text, name)]


def read_cells(text: str, name: str = "cells.jsonl") -> list[CellRow]:
    """The cells of a file; a last line that was cut off is left out."""
    return [_row(CellRow, value, name, line) for line, value in _lines(text, name)]


def read_endpoint(text: str, name: str = "endpoint.json") -> Endpoint:
    """What a probe found out, out of its file."""
    try:
        return _row(Endpoint, json.loads(text), name, 1)
    except ValueError:
        raise UserError(Mistake(name, "", "no JSON", "what a calibration wrote")) from None


def _lines(text: str, name: str) -> list[tuple[int, dict[str, Any]]]:
    found, lines = [], text.split("\n")
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError:
            if number == len(lines):
                break  # the process was killed while it wrote
            raise UserError(Mistake(name, "", "no JSON", "one row a line", "remove the line", number)) from None
        if isinstance(value, dict):
            found.append((number, value))
    return found


def _row(kind: type[Row], value: Any, name: str, line: int) -> Row:
    kinds = get_type_hints(kind)
    try:
        given: dict[str, Any] = {key: tuple(item) if key == "notes" else item for key, item in value.items() if key in kinds}
        row = kind(**given)
    except (TypeError, AttributeError):
        raise UserError(Mistake(name, "", "a row that lacks fields", "rows that a calibration wrote", line=line)) from None
    for key, item in given.items():
        if not _is(item, kinds[key]):
            raise UserError(Mistake(name, key, repr(item)[:40], "what a calibration writes there", "remove the row", line))
    return row


def _is(value: Any, kind: Any) -> bool:
    """Whether a value out of JSON is what a field holds."""
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_NUMBER
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_NUMBER
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is(item, get_args(kind)[1]) for item in value.values())
    if get_origin(kind) is tuple:
        return all(isinstance(item, str) for item in value)
    return kind is Any or isinstance(value, kind)


def _metadata(row: RequestRow, epoch_s: float) -> dict[str, Any]:
    return {
        "conversation_id": f"{row.cell}/{row.session}",
        "turn_index": row.turn,
        "request_start_ns": round((epoch_s + row.sent_s) * 1e9),
        "request_end_ns": round((epoch_s + row.end_s) * 1e9),
        "benchmark_phase": "profiling" if row.measured else "warmup",
        "was_cancelled": False,
    }


def _metrics(row: RequestRow) -> dict[str, dict[str, Any]]:
    values = {
        "time_to_first_token": (_ms(row.ttft_s), "ms"),
        "inter_token_latency": (_ms(row.tpot_s), "ms"),
        "request_latency": (_ms(row.end_s - row.sent_s), "ms"),
        "input_sequence_length": (row.prompt_tokens, "tokens"),
        "output_sequence_length": (row.output_tokens, "tokens"),
        "usage_prompt_tokens": (row.prompt_tokens, "tokens"),
        "usage_completion_tokens": (row.output_tokens, "tokens"),
        "usage_prompt_cache_read_tokens": (row.cached_tokens, "tokens"),
    }
    return {name: {"value": value, "unit": unit} for name, (value, unit) in values.items() if value is not None}


def _error(row: RequestRow) -> dict[str, Any] | None:
    return None if row.error is None else {"code": row.status, "type": "failed", "message": row.error}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
