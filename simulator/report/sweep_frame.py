"""A sweep as a table: a pandas frame, and one Parquet file that carries what made it. Inputs are sweeps and the command that asked."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.capacity.sweep_axes import canonical
from simulator.capacity.sweep_row import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from simulator.capacity.sweep import Sweep
    from simulator.capacity.sweep_plan import SweepPlan
    from simulator.capacity.sweep_row import Row

PLAYED = "_played"
"""After the name of an answer's column where a varied field has that name: ``system`` as varied, ``system_played`` as its profile says."""


def sweep_frame(sweep: Sweep) -> pd.DataFrame:
    """One row for each point, in the order of the points.

    Parameters
    ----------
    sweep : Sweep

    Returns
    -------
    DataFrame
        ``point``, the varied fields under their dotted names, ``status`` and ``reason``, the columns of the answer, and ``point_key``.
        What is missing is nan in a column of numbers and None in one of words.
    """
    import pandas as pd

    kinds: dict[str, Any] = {"count": "Int64", "number": "float64", "text": object, "truth": object}
    return pd.DataFrame({name: pd.Series(values, dtype=kinds[kind]) for name, (kind, values) in _columns(sweep).items()})


def sweep_records(sweep: Sweep) -> list[dict[str, Any]]:
    """The same rows as plain values, for `--json`."""
    columns = _columns(sweep)
    return [{name: values[place] for name, (_, values) in columns.items()} for place in range(len(sweep.rows))]


def parquet_bytes(sweep: Sweep, command: str) -> bytes:
    """The table as a Parquet file, the same bytes for the same rows; its metadata has the command, the resolved scenario and versions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"count": pa.int64(), "number": pa.float64(), "text": pa.string(), "truth": pa.bool_()}
    columns = _columns(sweep)
    schema = pa.schema([(name, kinds[kind]) for name, (kind, _) in columns.items()], metadata=_about(sweep.plan, command))
    table = pa.table({name: values for name, (_, values) in columns.items()}, schema=schema)
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def finished_rows(content: bytes) -> dict[str, Row]:
    """Key -> row of every point in a Parquet file of a sweep; nothing for a file that is none or that cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
        about = json.loads(table.schema.metadata[b"agentwatt.sweep"])
        names = _names(about["ask"], about["vary"])
        return {
            row["point_key"]: {column: row[names.get(column, column)] for column in ("status", "reason", *COLUMNS[about["ask"]])}
            for row in table.to_pylist()
            if row["point_key"]
        }
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return {}


def _names(ask: str, fields: Mapping[str, Any]) -> dict[str, str]:
    """Column of the answer -> its name in the table."""
    return {column: column + PLAYED if column in fields else column for column in COLUMNS[ask]}


def _columns(sweep: Sweep) -> dict[str, tuple[str, list[Any]]]:
    """Name -> kind and values of every column."""
    plan = sweep.plan
    fields = {axis.field: [point.values[axis.field] for point in plan.points] for axis in plan.axes}
    names = _names(plan.ask, fields)
    return {
        "point": ("count", [point.index for point in plan.points]),
        **{field: _field(values) for field, values in fields.items()},
        "status": ("text", [row["status"] for row in sweep.rows]),
        "reason": ("text", [row["reason"] for row in sweep.rows]),
        **{names[column]: (kind, [row[column] for row in sweep.rows]) for column, (_, kind) in COLUMNS[plan.ask].items()},
        "point_key": ("text", [point.key for point in plan.points]),
    }


def _field(values: list[Any]) -> tuple[str, list[Any]]:
    """A varied field's kind: numbers where all are, else words; parts given as mappings are written as JSON."""
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, bool) for value in given):
        return "truth", values
    if given and all(isinstance(value, int) and not isinstance(value, bool) for value in given):
        return "count", values
    if given and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return "number", [None if value is None else float(value) for value in values]
    return "text", [value if value is None or isinstance(value, str) else canonical(value) for value in values]


def _about(plan: SweepPlan, command: str) -> dict[str, str]:
    vary = {axis.field: list(axis.values) if axis.span is None else f"{axis.span[0]:g}..{axis.span[1]:g}" for axis in plan.axes}
    return {
        "agentwatt.command": command,
        "agentwatt.scenario": json.dumps(plan.document, ensure_ascii=True, default=str),
        "agentwatt.sweep": json.dumps({"ask": plan.ask, "vary": vary, "latin": plan.latin, "seed": plan.seed}, default=str),
        "agentwatt.versions": json.dumps(dict(plan.ground)),
    }
