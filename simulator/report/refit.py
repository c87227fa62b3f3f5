"""Tables of fits done again. Inputs are `simulator.calibration.refit`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from simulator.calibration.refit import Refit
from simulator.report.phrases import plain
from simulator.report.tables import Sheet
from simulator.report.validation import share, signed

TABLE = "laws/efficiencies: "


def refit_sheets(fits: Sequence[Refit], strays: Iterable[tuple[str, str, str]]) -> list[Sheet]:
    """Coefficients, errors, and what is called fitted but not reproduced."""
    stray_rows = tuple((plain(name), key, plain(source)) for name, key, source in strays)
    lost = Sheet("Called fitted, not reproduced here", ("profile", "coefficient", "source"), stray_rows, "lll")
    few, many = [fit for fit in fits if not fit.name.startswith(TABLE)], [fit for fit in fits if fit.name.startswith(TABLE)]
    differing = [replace(fit, coefficients=tuple(c for c in fit.coefficients if c.differs)) for fit in many]
    tables = [table_sheet(many), *([coefficients_sheet(differing)] if any(fit.differs for fit in many) else [])] if many else []
    return [coefficients_sheet(few), *tables, misses_sheet(few), *([lost] if stray_rows else [])]


def table_sheet(fits: Sequence[Refit]) -> Sheet:
    """Rows of a table of many coefficients: how many of each are what the evidence gives."""
    rows = tuple(
        (
            plain(fit.name.removeprefix(TABLE)),
            str(len(fit.coefficients)),
            str(sum(c.differs for c in fit.coefficients)),
            "DIFFERS" if fit.differs else "same",
        )
        for fit in fits
    )
    return Sheet("Efficiencies of serving stacks", ("system engine model bits", "coefficients", "differing", ""), rows, "lrrl")


def coefficients_sheet(fits: Sequence[Refit]) -> Sheet:
    """Each coefficient as the profile has it, and fitted again."""
    rows = tuple(
        (
            plain(fit.name),
            c.name,
            f"{c.stated:.4g}",
            f"{c.again:.4g}",
            signed(c.again / c.stated - 1) if c.stated else "–",
            "DIFFERS" if c.differs else "same",
        )
        for fit in fits
        for c in fit.coefficients
    )
    columns = ("fit", "coefficient", "in the profile", "fitted again", "difference", "")
    return Sheet("Coefficients", columns, rows, "llrrrl", "same: within rounding of the digits written")


def misses_sheet(fits: Sequence[Refit]) -> Sheet:
    """Errors of each law on its evidence, fit and check apart."""
    rows = tuple(
        (plain(fit.name), plain(m.rows), m.split, str(m.errors.size), share(m.median), signed(m.worst)) for fit in fits for m in fit.misses
    )
    return Sheet("Errors of the laws as they ship", ("fit", "rows", "split", "count", "median", "worst"), rows, "lllrrr")
