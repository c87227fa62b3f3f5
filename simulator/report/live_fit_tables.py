"""Tables of a calibration: parameters, engine properties, errors by phase, the replay, what was left out. Inputs are a fit and a check."""

import math

from simulator.calibration.live_check import NAMES, QUANTITIES, Check
from simulator.calibration.live_drift import Drift
from simulator.calibration.live_fit import Fit
from simulator.calibration.live_pace import Pace
from simulator.report.phrases import number, plain
from simulator.report.tables import Sheet

__all__ = [
    "drift_sheet",
    "errors_sheet",
    "excluded_sheet",
    "fit_sheets",
    "law_sheet",
    "pace_words",
    "replay_sheet",
    "signed",
    "slo_sheet",
    "time",
    "traits_sheet",
]

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"))
MOST_EXCLUDED = 12


def time(seconds: float | None) -> str:
    """Seconds in the unit that suits them; – for unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    scale, unit = next((pair for pair in SCALES if abs(seconds) >= pair[0]), (1.0, "s"))
    return f"{seconds / scale:.3g} {unit}"


def signed(share: float) -> str:
    """A signed percentage; – for unknown."""
    return f"{share:+.1%}" if math.isfinite(share) else "–"


def fit_sheets(fit: Fit, check: Check | None) -> list[Sheet]:
    """All tables, in reading order."""
    replay = [replay_sheet(check), *([slo_sheet(check)] if check.held else [])] if check is not None and check.levels else []
    excluded = [excluded_sheet(fit)] if fit.excluded else []
    return [law_sheet(fit), traits_sheet(fit), errors_sheet(fit), *replay, *excluded]


def law_sheet(fit: Fit) -> Sheet:
    """The law's coefficients with intervals, units, and the kinds of cells that they come from."""
    kinds = ", ".join(dict.fromkeys(one.kind for one in fit.law.observations))
    cells = len({one.cell for one in fit.law.observations})
    rows = tuple(
        (one.name, time(one.value), f"{time(one.low)} – {time(one.high)}", one.unit, "; ".join(one.flags) or "") for one in fit.coefficients
    )
    tried = "; ".join(f"{form}: {error:.1%}" for form, error in fit.law.tried)
    note = (
        f"{cells} cells ({kinds}); times from {fit.clocks.get('prefill', '')} for prefill, {fit.clocks.get('decode', '')} for decode; "
        f"form: {fit.law.form}; median error on experiments left out, by form tried: {tried}; condition number {fit.law.condition:.1f}"
    )
    return Sheet("The step law", ("coefficient", "value", "5–95 %", "per", "doubts"), rows, "lrrll", note)


def traits_sheet(fit: Fit) -> Sheet:
    """What the engine is like, by experiment and by its own word."""
    rows = []
    for one in fit.traits.values():
        span = f"{one.low:g} – {one.high:g}" if one.low is not None and one.high is not None else f"≥ {one.low:g}" if one.low else ""
        agrees = {True: "yes", False: "NO", None: ""}[one.agrees]
        told = "–" if one.told is None else plain(one.told)
        rows.append((one.name, "–" if one.value is None else plain(one.value), span, told, agrees, f"{len(one.cells)}"))
    columns = ("property", "by experiment", "range", "told", "agree", "cells")
    return Sheet("The engine, found by experiment", columns, tuple(rows), "lrrrlr", "told: by the server; ≥: no limit seen")


def errors_sheet(fit: Fit) -> Sheet:
    """Errors by kind of prediction and phase."""
    rows = tuple(
        (one.how, one.kind, one.quantity, f"{one.count}", f"{one.median:.1%}", signed(one.bias), f"{one.worst:.1%}") for one in fit.errors
    )
    noise = f"{fit.noise:.1%}" if math.isfinite(fit.noise) else "unknown, for no cell was repeated"
    columns = ("prediction", "phase", "time", "cells", "median", "bias", "worst")
    return Sheet("Errors by phase", columns, rows, "lllrrrr", f"noise floor, from repetitions: {noise}; {pace_words(fit.pace)}")


def pace_words(pace: Pace | None) -> str:
    """What was done about an endpoint that changed during the run."""
    if pace is None:
        return "too few drift cells to say whether the endpoint's speed changed"
    if pace.change == 0:
        return "drift cells differ by no more than noise: times are taken as measured"
    low, high = pace.factors.min(), pace.factors.max()
    return f"the endpoint's speed changed during the run: times were divided by a pace of {low:.2f} to {high:.2f}, the replay's were not"


def replay_sheet(check: Check) -> Sheet:
    """Predicted against measured, by agents."""
    rows = []
    for level in check.levels:
        for quantity in QUANTITIES:
            show = time if quantity.endswith("_s") and not quantity.endswith("tok_s") else _plain_number
            pair = show(level.measured[quantity]), show(level.predicted[quantity])
            rows.append((f"{level.agents}", NAMES[quantity], *pair, signed(level.error(quantity))))
    note = "agents: or requests side by side; nothing was fitted to them; error: predicted over measured less one, of the hit a difference"
    return Sheet("The hold-out replay", ("agents", "quantity", "measured", "predicted", "error"), tuple(rows), "rlrrr", note)


def _plain_number(value: float) -> str:
    return number(value) if math.isfinite(value) else "–"


def slo_sheet(check: Check) -> Sheet:
    """Agents held at SLOs on the ladder."""
    rows = tuple(
        (f"{one.speed_tok_s:.1f} tok/s, TTFT {time(one.ttft_s)}", f"{one.measured}", f"{one.predicted}", f"{one.steps:+d}")
        for one in check.held
    )
    note = "speed that three in four requests reach, and p95 of TTFT; rungs: the replayed numbers of agents"
    return Sheet("Agents held at an SLO", ("SLO", "measured", "predicted", "rungs off"), rows, "lrrr", note)


def excluded_sheet(fit: Fit) -> Sheet:
    """What nothing was fitted to, and why."""
    shown = fit.excluded[:MOST_EXCLUDED]
    rows = tuple((plain(one.cell), plain(one.why)) for one in shown)
    more = len(fit.excluded) - len(shown)
    return Sheet("Left out", ("cell", "why"), rows, "ll", f"and {more} more" if more else "")


def drift_sheet(found: Drift) -> Sheet:
    """The short check, experiment by experiment."""
    rows = tuple(
        (plain(one.experiment), one.quantity, f"{one.cells}", time(one.measured_s), time(one.predicted_s), signed(one.error))
        for one in found.experiments
    )
    columns = ("experiment", "time", "cells", "measured", "overlay", "change")
    spread = f"{found.noise:.1%}" if math.isfinite(found.noise) else "unknown"
    note = f"change: measured over overlay, less one; repetitions of one experiment differ by {spread}"
    return Sheet("Drift", columns, rows, "llrrrr", note)
