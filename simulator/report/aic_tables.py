"""The table of a law derived from operator tables: errors by phase, in-sample and held out. Input is what `derive` found."""

from simulator.calibration.aic_derive import Derived
from simulator.calibration.aic_overlay import law_keys
from simulator.report.phrases import percent, plain
from simulator.report.tables import Sheet

SPLITS = {"fit": "in-sample", "check": "held out"}


def derived_sheet(derived: Derived) -> Sheet:
    """How far the law is from the cells it was fitted to, and from those it never saw."""
    rows = tuple(
        (phase, SPLITS[split], str(found.cells), percent(found.median), percent(found.worst))
        for (phase, split), found in derived.fit.errors.items()
    )
    law = ", ".join(f"{name} {getattr(derived.fit.law, name):.4g}" for name in law_keys(derived.fit.law))
    missing = f"; {len(derived.missing)} cells not in the tables" if derived.missing else ""
    columns = ("phase", "cells are", "cells", "median error", "largest")
    return Sheet(plain(derived.title), columns, rows, "llrrr", f"{law}; {plain(derived.source)}{missing}")
