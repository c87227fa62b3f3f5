"""CSV that is safe to open in a spreadsheet and the same to the byte every time. Inputs are the frames of `simulator.report.frames`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.report.phrases import plain

if TYPE_CHECKING:
    import pandas as pd


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV with a header; a cell that a spreadsheet would run as a formula starts with an apostrophe.

    Numbers are written in their shortest exact form, truth as 0 and 1, and what is missing as an empty cell.
    """
    cells = frame.copy()
    for name in frame.select_dtypes(exclude="number"):
        cells[name] = frame[name].map(_cell)
    return cells.rename(columns=_cell).to_csv(index=False, lineterminator="\n") if len(frame.columns) else ""


def _cell(value: Any) -> Any:
    """Numbers as they are, truth as 0 and 1, empty for what is missing; text without control characters and without a formula."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, int | float):
        return int(value) if isinstance(value, bool) else value
    text = plain(value)
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") and text.strip() else text
