"""The command `agentwatt validate`: measured rows beside their predictions. Input is a CSV file of rows, or the evidence that ships."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.calibration.compare import Validation
    from simulator.calibration.evidence import Row

MeasuredFile = Annotated[
    Path | None,
    typer.Argument(
        help="CSV of measured rows (.gz too), or silicon_fit.csv.gz as it is; the shipped evidence when left out.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One record for each measured quantity, in place of the tables.")]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the report, one self-contained page.", show_default=False)
]
System = Annotated[str, typer.Option("--system", metavar="NAME", help="Only rows of this system.", show_default=False)]
Model = Annotated[str, typer.Option("--model", metavar="NAME", help="Only rows of this model.", show_default=False)]
Quantity = Annotated[
    str, typer.Option("--quantity", metavar="NAME", help="Only this quantity: ttft_ms, tpot_ms, tok_s_gpu, watts.", show_default=False)
]
RowsOut = Annotated[
    Path | None,
    typer.Option("--rows", metavar="FILE", help="Write the rows read, cleaned, in our columns, and predict nothing.", show_default=False),
]


def validate(
    file: MeasuredFile = None,
    as_json: AsJson = False,
    html: HtmlFile = None,
    system: System = "",
    model: Model = "",
    quantity: Quantity = "",
    rows_out: RowsOut = None,
) -> None:
    """Predict measured serving rows by simulation, and show the errors: by system, model, engine and quantity, fit and check apart."""
    from simulator.cli.files import refuse_places, write_text
    from simulator.cli.screen import say, show_json, show_sheets
    from simulator.report.validation import pairs_json, validation_sheets

    refuse_places(html, rows_out)
    rows = _chosen(_read(file), system, model, quantity, str(file or "evidence"))
    if rows_out is not None:
        from simulator.calibration.evidence import rows_text

        write_text(rows_out, rows_text(rows))
        say(f"written: {rows_out}, {len(rows):,} rows")
        return
    found = _predicted(rows).only(quantity=quantity)
    if html is not None:
        from simulator.cli.provenance import provenance_of_rows
        from simulator.report.validation_html import render_validation

        source = str(file or "the shipped evidence")
        chosen = [("--system", system), ("--model", model), ("--quantity", quantity), ("--html", str(html))]
        words = [*([str(file)] if file else []), *(word for option, value in chosen if value for word in (option, value))]
        made = provenance_of_rows("rows", source, shlex.join(["agentwatt", "validate", *words]), rows)
        write_text(html, render_validation(found, made, source))
        say(f"written: {html}")
    if as_json:
        show_json(pairs_json(found))
    else:
        show_sheets(validation_sheets(found))


def _read(file: Path | None) -> tuple[Row, ...]:
    """The rows of a file in either kind of columns, or all that ship; what cleaning drops is told."""
    import csv
    from collections import Counter

    from simulator.calibration.evidence import open_text, read_rows, shipped_rows
    from simulator.cli.screen import say

    if file is None:
        return shipped_rows()
    try:
        with open_text(file) as text:
            header = next(csv.reader(text), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        header = []  # the reader says what is wrong
    from simulator.calibration.silicon import is_silicon, read_silicon

    if not is_silicon(header):
        return read_rows(file)
    rows, dropped = read_silicon(file)
    for why, count in Counter(f"{mode}: {reason}" for mode, reason in zip(dropped["mode"], dropped["reason"], strict=True)).items():
        say(f"dropped: {count} rows, {why}")
    return rows


def _chosen(rows: tuple[Row, ...], system: str, model: str, quantity: str, file: str) -> tuple[Row, ...]:
    from simulator.calibration.evidence import QUANTITIES
    from simulator.catalog import nearest
    from simulator.errors import Mistake, UserError

    if quantity and quantity not in QUANTITIES:
        raise UserError(Mistake("", "--quantity", repr(quantity), ", ".join(QUANTITIES), nearest(quantity, list(QUANTITIES))))
    for option, word in (("system", system), ("model", model)):
        known = sorted({str(getattr(row, option)) for row in rows})
        if word and word not in known:
            raise UserError(Mistake(file, f"--{option}", repr(word), ", ".join(known), nearest(word, known)))
    return tuple(
        row for row in rows if system in ("", row.system) and model in ("", row.model) and (not quantity or quantity in row.measured)
    )


def _predicted(rows: tuple[Row, ...]) -> Validation:
    from simulator.calibration.compare import compare
    from simulator.calibration.predict import predict_rows
    from simulator.cli.screen import progress, tell_first_compile

    with progress() as tell:
        tell_first_compile(tell)
        return compare(rows, predict_rows(rows, tell))
