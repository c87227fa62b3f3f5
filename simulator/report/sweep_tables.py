"""Tables of a sweep: its points with what people read first, and what cannot run. Inputs are sweeps."""

from collections import Counter
from typing import Any

from simulator.capacity.sweep import Sweep
from simulator.capacity.sweep_axes import canonical
from simulator.capacity.sweep_row import CANNOT_RUN, Row
from simulator.report.phrases import number, percent, plain, words
from simulator.report.tables import Sheet

LONGEST = 48
"""Letters of a varied value in a table; all of it is in the CSV and the Parquet file."""


def sweep_sheet(sweep: Sweep, most: int) -> Sheet:
    """One row for each of the first ``most`` points: the varied fields, agents, agents per MW, what limits."""
    fields = [axis.field for axis in sweep.plan.axes]
    capacity = sweep.plan.ask == "capacity"
    columns = ("agents\nheld", "interval") if capacity else ("agents", "P25\ntok/s", "P95\nTTFT (s)")
    rows = []
    for point, row in list(zip(sweep.plan.points, sweep.rows, strict=True))[:most]:
        answer = _held(row) if capacity else _played(row)
        rows.append((*(shown(point.values[field]) for field in fields), *answer, *_powers(row)))
    left = len(sweep.rows) - len(rows)
    note = f"and {left:,} more points in the CSV and the Parquet file" if left > 0 else ""
    heads = (*(plain(field) for field in fields), *columns, "agents per MW,\naccelerator", "W\n/GPU", "cache\nhit", "limited by")
    align = "".join("r" if all(is_number(p.values[field]) for p in sweep.plan.points) else "l" for field in fields)
    return Sheet("Points of the sweep", heads, tuple(rows), align + "r" * (len(columns) + 3) + "l", note)


def refused_sheet(sweep: Sweep) -> Sheet | None:
    """Why points cannot run, and how many there are for each reason; None when all can."""
    reasons = Counter(plain(row["reason"]) for row in sweep.refused)
    if not reasons:
        return None
    rows = tuple((f"{count:,}", reason) for reason, count in reasons.most_common())
    return Sheet("Points that cannot run", ("points", "why"), rows, "rl")


def shown(value: Any) -> str:
    """A varied value in a table or a figure."""
    if is_number(value):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    text = plain(value if isinstance(value, str) else canonical(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def is_number(value: Any) -> bool:
    """Whether a varied value is a number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _held(row: Row) -> tuple[str, ...]:
    if row["status"] == CANNOT_RUN:
        return ("cannot run", "–")
    return f"{row['agents_held']:,}", f"{row['agents_held_low']:,}–{row['agents_held_high']:,}"


def _played(row: Row) -> tuple[str, ...]:
    if row["status"] == CANNOT_RUN:
        return ("cannot run", "–", "–")
    return f"{row['agents']:,}", _number(row["output_speed_tok_s_p25"]), _number(row["ttft_s_p95"])


def _powers(row: Row) -> tuple[str, ...]:
    watts = row.get("accelerator_w_per_gpu", row.get("watts_per_gpu_accelerator"))
    hit = row["cache_hit"]
    limiter = words(row["limiter"]) if row["limiter"] else "–"
    return _number(row["agents_per_mw_accelerator"]), _number(watts), "–" if hit is None else percent(hit), limiter


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)
