"""Tables of fits done again. Inputs are `simulator.calibration.refit`."""

from collections.abc import Iterable, Sequence

from simulator.calibration.refit import Refit
from simulator.report.phrases import plain
from simulator.report.tables import Sheet
from simulator.report.validation import share, signed


def refit_sheets(fits: Sequence[Refit], strays: Iterable[tuple[str, str, str]]) -> list[Sheet]:
    """Coefficients, errors, and what is called fitted but not reproduced."""
    stray_rows = tuple((plain(name), key, plain(source)) for name, key, source in strays)
    lost = Sheet("Called fitted, not reproduced here", ("profile", "coefficient", "source"), stray_rows, "lll")
    return [coefficients_sheet(fits), misses_sheet(fits), *([lost] if stray_rows else [])]


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
