"""Tables of a validation: errors by quantity, system, model and engine, fit and check apart. Inputs are `simulator.calibration.compare`."""

from collections.abc import Sequence

from simulator.calibration.compare import Pair, Validation, errors, grouped
from simulator.report.phrases import number, plain
from simulator.report.tables import Sheet

NAMES = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "tok_s_gpu": "tok/s/GPU", "watts": "W/GPU"}
"""What a quantity is called in a table."""

PAIR = ("id", "system", "model", "engine", "quantity", "split", "measured", "predicted", "error")
"""What a record of a pair has."""

WORST_SHOWN = 10


def validation_sheets(found: Validation) -> list[Sheet]:
    """The whole report as tables, the shortest answer first."""
    return [
        *([errors_sheet(found, "Errors", ())] if found.pairs else []),
        *(errors_sheet(found, f"By {key}", (key,)) for key in ("system", "model", "engine") if found.pairs),
        *([errors_sheet(found, "By system, engine and model", ("system", "engine", "model"))] if found.pairs else []),
        *([worst_sheet(found.pairs)] if found.pairs else []),
        *([left_out_sheet(found)] if found.left_out else []),
    ]


def errors_sheet(found: Validation, title: str, keys: tuple[str, ...]) -> Sheet:
    """Errors of each group, its rows of both splits beside each other."""
    rows = []
    for words, pairs in grouped(found.pairs, *keys, "quantity").items():
        *group, quantity = words
        halves = [[p for p in pairs if p.split == split] for split in ("check", "fit")]
        rows.append((*map(plain, group), NAMES[quantity], *(cell for half in halves for cell in _cells(half))))
    columns = tuple(f"{split}\n{word}" for split in ("check", "fit") for word in ("rows", "median", "bias", "p90", "worst"))
    note = "median and p90 of the absolute relative error; bias: median of the signed error; check: rows that nothing was fitted to"
    return Sheet(title, (*keys, "quantity", *columns), tuple(rows), "l" * (len(keys) + 1) + "r" * len(columns), note)


def _cells(pairs: Sequence[Pair]) -> tuple[str, ...]:
    if not pairs:
        return ("–",) * 5
    e = errors(pairs)
    return str(e.count), share(e.median), signed(e.bias), share(e.p90), signed(e.worst)


def share(value: float) -> str:
    """A relative error as a percentage, with a decimal below 100 %."""
    return f"{100 * value:.1f} %" if value < 1 else f"{100 * value:,.0f} %"


def signed(value: float) -> str:
    """A signed relative error as a percentage."""
    return ("+" if value >= 0 else "−") + share(abs(value))


def worst_sheet(pairs: Sequence[Pair], most: int = WORST_SHOWN) -> Sheet:
    """The rows that are missed by most, of each quantity."""
    chosen = [pair for _, group in grouped(pairs, "quantity").items() for pair in sorted(group, key=lambda p: -abs(p.error))[:most]]
    rows = tuple(
        (NAMES[p.quantity], plain(p.id), plain(p.system), plain(p.model), plain(p.engine), p.split, number(p.measured), number(p.predicted),
         signed(p.error))
        for p in chosen
    )  # fmt: skip
    columns = ("quantity", "row", "system", "model", "engine", "split", "measured", "predicted", "error")
    return Sheet("Missed by most", columns, rows, "llllllrrr")


def left_out_sheet(found: Validation) -> Sheet:
    """Rows without a prediction, and why."""
    rows = tuple((plain(reason), f"{count:,}") for reason, count in found.left_out.items())
    total = sum(found.left_out.values())
    return Sheet(f"Not predicted: {total:,} of {found.rows:,} rows", ("reason", "rows"), rows, "lr")


def pairs_json(found: Validation) -> list[dict[str, object]]:
    """One flat record a pair, for scripts."""
    return [{key: getattr(pair, key) for key in PAIR} for pair in found.pairs]
