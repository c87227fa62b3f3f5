"""Tables of a GPU's measurement: the plan, the fits and what they predict. Inputs are plans, evidence rows and fits of `calibration`."""

from collections import defaultdict
from collections.abc import Sequence

from simulator.calibration.gpu_cells import KINDS, Cell
from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_fit import Share, TimeFit, drift, single, stack_span
from simulator.calibration.gpu_fit_power import Beside, GpuPowerFit
from simulator.calibration.gpu_plan import Plan
from simulator.hardware.system import System
from simulator.report.phrases import number, percent, plain, words
from simulator.report.tables import Sheet

WORST_SHOWN = 12
TARGET = 0.05
"""Mean error on held-out cells, as a share of the TDP, that the power law of a measured GPU should stay within."""


def plan_sheet(plan: Plan) -> Sheet:
    """The plan by kind, part and model: how many cells, over which sizes, how long, and what the budget leaves out."""
    groups: dict[tuple[str, ...], list[tuple[Cell, float]]] = defaultdict(list)
    for visit in plan.visits:
        groups[_group(visit.cell)].append((visit.cell, visit.expected_s))
    left: dict[tuple[str, ...], int] = defaultdict(int)
    for cell in plan.left_out:
        left[_group(cell)] += 1
    keys = sorted(set(groups) | set(left), key=lambda key: (KINDS.index(key[0]), key))
    rows = tuple(
        (
            *key,
            f"{len(groups[key])}",
            f"{left[key]}" if left[key] else "",
            _spans([cell for cell, _ in groups[key]]),
            f"{sum(seconds for _, seconds in groups[key]):.0f}",
        )
        for key in keys
    )
    note = (
        f"{len(plan.visits)} visits of {plan.window_s:g} s each and what surrounds them: about {plan.expected_s / 60:.1f} min on one GPU; "
        f"{len(plan.left_out)} cells do not fit the budget. The order is random; one cell comes at the start, in the middle and at the end."
    )
    columns = ("kind", "part", "model", "type", "visits", "left\nout", "sizes", "s")
    return Sheet("What is measured", columns, rows, "llllrrlr", note)


def _group(cell: Cell) -> tuple[str, str, str, str]:
    return cell.kind, cell.part, cell.model, cell.dtype


def _spans(cells: list[Cell]) -> str:
    """Each size's value, or its least and greatest."""
    names = dict.fromkeys(name for cell in cells for name in cell.size)
    spans = []
    for name in names:
        values = sorted({cell.size[name] for cell in cells})
        spans.append(f"{name} {values[0]:,}" if len(values) == 1 else f"{name} {values[0]:,}–{values[-1]:,}")
    return ", ".join(spans)


def terms_sheet(fits: Sequence[TimeFit], system: str) -> Sheet:
    """The efficiencies with their intervals, how well they predict cells held out, and what served runs on the system show."""
    rows = []
    for fit in fits:
        for place, term in enumerate(fit.terms):
            scale, unit = (1e6, "µs") if term.unit == "s" else (1.0, term.unit)
            value, low, high = (number(scale * each) for each in (term.value, term.low, term.high))
            tail = (f"{fit.cells}", percent(fit.error), f"{fit.checked}", percent(fit.check_error)) if place == 0 else ("",) * 4
            rows.append(
                (
                    fit.kind if place == 0 else "",
                    words(term.name),
                    value,
                    f"{low}–{high}",
                    unit,
                    *tail,
                    _span(stack_span(system, fit.kind, term.name)),
                )
            )
    columns = ("kernels", "term", "value", "5–95 %", "unit", "cells", "median\nerror", "held\nout", "median\nerror", "stacks\nin use")
    note = "time = floor + bytes over peak bandwidth x weights (or kv) + FLOPs over peak x gemm (or attention); kernels are PyTorch's; "
    note += (
        "stacks in use: least to greatest of the engines' efficiencies fitted to served runs, which hold all that an engine loses besides"
    )
    return Sheet("Efficiencies of the step-time law", columns, tuple(rows), "llrrlrrrrr", note)


def _span(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{number(ends[0])}–{number(ends[1])}"


def shares_sheet(shares: Sequence[Share]) -> Sheet:
    """What GEMMs reach of the datasheet, by type and tokens."""
    rows = tuple((s.dtype, f"{s.tokens:,}", f"{s.cells}", percent(s.bandwidth), percent(s.flops)) for s in shares)
    return Sheet(
        "GEMMs by tokens", ("type", "tokens", "shapes", "of peak\nbandwidth", "of peak\nFLOP/s"), rows, "lrrrr", "medians over shapes"
    )


def singles_sheet(rows: Sequence[Row]) -> Sheet:
    """Figures that need no fit: idle watts, launch floors, copies, and the drift of the run."""
    found: list[tuple[str, float | None, str]] = [
        *((f"idle, {part}", single(rows, "idle", part, "watts"), "W") for part in ("bare", "context", "allocated")),
        *((f"launch, {part}", _times(single(rows, "launch", part, "time_s"), 1e6), "µs") for part in ("eager", "graph")),
        ("copy within HBM", _rate(rows, "copy", "hbm", 1e12), "TB/s"),
        *((f"host link, {part.replace('_', ' ')}", _rate(rows, "host", part, 1e9), "GB/s") for part in ("to_gpu", "from_gpu")),
        ("drift of one cell over the run", _times(drift(rows), 100.0), "%"),
    ]
    table = tuple((name, "missing" if value is None else number(value), unit) for name, value, unit in found)
    return Sheet(
        "Read off", ("quantity", "value", "unit"), table, "lrl", "bare: no CUDA context; allocated: memory held, as with weights loaded"
    )


def law_sheet(fit: GpuPowerFit, system: System) -> Sheet:
    """The power law's coefficients beside those of the profile."""
    rows = (
        ("idle_w", number(fit.idle_w), "", number(system.idle_w), "W"),
        *((t.name, number(t.value), f"{number(t.low)}–{number(t.high)}", number(getattr(system, t.name)), "x TDP") for t in fit.terms),
    )
    target = "met" if fit.check_error <= TARGET else "NOT met"
    note = (
        f"mean error on cells held out {percent(fit.check_error)} of TDP (worst {percent(fit.check_worst)}), target {percent(TARGET)}: "
        f"{target}; on cells fitted {percent(fit.error)}; the profile as it stands: {percent(fit.check_before)} on the same cells held out"
    )
    return Sheet("Power law", ("field", "measured", "5–95 %", f"{plain(system.name)}\nas it stands", "unit"), rows, "lrrrl", note)


def points_sheet(fit: GpuPowerFit) -> Sheet:
    """The cells held out, those missed by most first."""
    held = sorted((p for p in fit.points if p.held_out), key=lambda p: -abs(p.fitted - p.watts))
    shown = held[:WORST_SHOWN]
    rows = tuple((plain(p.cell), percent(p.um), percent(p.uc), number(p.watts), number(p.fitted), number(p.before)) for p in shown)
    columns = ("cell", "of peak\nbandwidth", "of peak\nFLOP/s", "measured\nW", "fitted\nlaw, W", "profile as it\nstands, W")
    return Sheet("Watts of the cells held out", columns, rows, "lrrrrr", f"the worst {len(shown)} of {len(held)}")


def evidence_sheet(beside: Sequence[Beside], system: str) -> Sheet:
    """Old and new predictions on every row of measured watts that ships for the system."""
    rows = tuple(
        (plain(b.id), b.split, *map(number, (b.watts, b.before, b.after)), _signed(b.before, b.watts), _signed(b.after, b.watts))
        for b in beside
    )
    columns = ("row", "split", "measured\nW", "profile as it\nstands, W", "with this\nfit, W", "error\nbefore", "error\nafter")
    note = "watts per GPU of serving runs, utilisations by model arithmetic (docs/power.md); no time of such a run rests on this fit"
    return Sheet(f"Evidence rows of {plain(system)}", columns, rows, "llrrrrr", note)


def _signed(predicted: float, measured: float) -> str:
    return f"{100 * (predicted / measured - 1):+.0f} %"


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def _rate(rows: Sequence[Row], kind: str, part: str, unit: float) -> float | None:
    seconds, moved = single(rows, kind, part, "time_s"), single(rows, kind, part, "bytes")
    return moved / seconds / unit if seconds and moved else None
