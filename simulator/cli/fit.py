"""The command `agentwatt fit`: every fitted coefficient of the repository, derived again from the evidence that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Check = Annotated[bool, typer.Option("--check", help="Leave with status 3 when a coefficient is not what its evidence gives.")]


Write = Annotated[
    Path | None,
    typer.Option("--write", metavar="FILE", help="Write one table of laws, fitted again, and nothing else.", show_default=False),
]
Table = Annotated[
    Literal["efficiencies", "served"] | None,
    typer.Option("--table", help="Which table --write writes: efficiencies, unless said.", show_default=False),
]


def fit(check: Check = False, write: Write = None, table: Table = None) -> None:
    """Fit every coefficient again from hardware_profiles/evidence, and show it beside the value in use."""
    from simulator.calibration.fits import all_fits, not_reproduced
    from simulator.cli.exit_codes import ExitCode
    from simulator.cli.screen import progress, show_sheets
    from simulator.report.refit import refit_sheets

    if table is not None and write is None:
        raise typer.BadParameter("only --write FILE writes a table", param_hint="--table")
    if write is not None:
        from simulator.calibration.fits import table_again
        from simulator.cli.files import refuse_places, write_text

        refuse_places(write)
        write_text(write, table_again(table or "efficiencies"))
        return
    with progress():
        fits = all_fits()
    show_sheets(refit_sheets(fits, not_reproduced()))
    if check and any(each.differs for each in fits):
        raise typer.Exit(ExitCode.DIFFERS)
