"""Tables of what the errors of the profiles make of answers and ratios: intervals, and which fields to measure next. Inputs are answers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from simulator.capacity.results import Answer, Comparison, Swing, Uncertainty
from simulator.report.phrases import BASES, number, plain, span, tier, times
from simulator.report.tables import Sheet

MOST_BARS = 8
"""Rows of a tornado; what is left out moves the answer less."""

QUANTITIES = {"agents_held": "agents held", "agents_per_gpu": "agents/GPU"} | {
    f"agents_per_mw_{basis}": f"agents/MW {'TDP' if basis == 'tdp' else basis}" for basis in BASES
}
IN_ANSWERS = [key for key in QUANTITIES if key != "agents_per_gpu"]
IN_TORNADO = ("agents_held", "agents_per_mw_accelerator", "agents_per_mw_facility")
IN_RATIOS = ("agents_per_gpu", "agents_per_mw_accelerator", "agents_per_mw_facility")

BADGES = {
    "calibrated": "its step-time law was calibrated on a live endpoint of this very system",
    "fitted": "its laws and its KV pool are fitted to measurements, measured or printed",
    "estimated": "some field of its laws or of its KV pool is estimated or assumed",
}


def uncertainty_sheets(comparison: Comparison) -> list[Sheet]:
    """Intervals of all answers and ratios, then a tornado for each; none where nobody asked."""
    found = [answer for answer in comparison.answers if answer.uncertainty]
    ratios = [(row, u) for row, u in zip(comparison.ratios, comparison.uncertainty, strict=False) if u]
    sheets = [interval_sheet(found)] if found else []
    sheets += [ratio_interval_sheet(ratios)] if ratios else []
    sheets += [tornado_sheet(f"{plain(a.system)} at {tier(a.slo)}", a.uncertainty, IN_TORNADO, number) for a in found if a.uncertainty]
    return sheets + [tornado_sheet(f"{_pair(row)} at {plain(row['tier'])}", u, IN_RATIOS, times) for row, u in ratios]


def interval_sheet(answers: Iterable[Answer]) -> Sheet:
    """Each answer on every basis with its interval over draws from the profiles, beside that over seeds."""
    rows = tuple(row for answer in answers for row in _intervals(answer))
    columns = ("SLO", "system", "quantity", "answer", "profiles,\nP10–P90", "profiles,\nP5–P95", "seeds,\nleast–most", "badge")
    return Sheet("Intervals over the errors of the profiles", columns, rows, "lllrrrrl", _note(answers))


def _intervals(answer: Answer) -> Iterator[tuple[str, ...]]:
    found = answer.uncertainty
    assert found is not None
    for place, key in enumerate(IN_ANSWERS):
        interval = found.intervals[key]
        basis = key.removeprefix("agents_per_mw_")
        seeds = answer.interval if key == "agents_held" else answer.agents_per_mw_interval.get(basis, (float("nan"), float("nan")))
        ends = span(interval.p10, interval.p90), span(interval.p5, interval.p95)
        ahead = (tier(answer.slo), plain(answer.system)) if not place else ("", "")
        yield (*ahead, QUANTITIES[key], number(found.nominal[key]), *ends, span(*seeds), plain(answer.badge) if not place else "")


def _note(answers: Iterable[Answer]) -> str:
    first = next(iter(answers))
    assert first.uncertainty is not None
    words = "; ".join(f"{badge}: {meaning}" for badge, meaning in BADGES.items())
    return (
        f"profiles: percentiles of {first.uncertainty.samples} draws of the fields that may be wrong, each by its spread; "
        f"workload and tool times are not drawn. seeds: the randomness of the load. badge: {words}"
    )


def ratio_interval_sheet(ratios: Iterable[tuple[Mapping[str, Any], Uncertainty]]) -> Sheet:
    """Each ratio with its interval over the same draws on both sides, in which shared errors cancel."""
    rows = tuple(
        (
            plain(row["tier"]) if not place else "",
            _pair(row) if not place else "",
            QUANTITIES[key],
            times(found.nominal[key]),
            f"{times(found.intervals[key].p10)}–{times(found.intervals[key].p90)}",
            f"{times(found.intervals[key].p5)}–{times(found.intervals[key].p95)}",
        )
        for row, found in ratios
        for place, key in enumerate(IN_RATIOS)
    )
    columns = ("SLO", "ratio", "quantity", "answer", "profiles, P10–P90", "profiles, P5–P95")
    return Sheet("Ratios over the errors of the profiles", columns, rows, "lllrrr", "both sides under the same draws")


def tornado_sheet(name: str, found: Uncertainty, keys: tuple[str, ...], written: Any) -> Sheet:
    """Which fields to measure next: every group alone at its better and its worse end (10th and 90th percentile), the widest first."""
    rows = tuple(
        (fields(swing), plain(swing.profile), plain(swing.quality), factors(swing), *(_ends(swing, key, written) for key in keys))
        for swing in found.swings[:MOST_BARS]
    )
    columns = ("moved together", "profile", "quality", "by a factor of", *(QUANTITIES[key] for key in keys))
    answer = ", ".join(f"{QUANTITIES[key]} {written(found.nominal[key])}" for key in keys)
    return Sheet(f"What to measure next: {name}", columns, rows, "llll" + "r" * len(keys), f"better end → worse end; unmoved: {answer}")


def fields(swing: Swing) -> str:
    """The fields of a group: the first, and how many more."""
    names = list(dict.fromkeys(field.rpartition(".")[2] for field in swing.fields))
    return plain(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def factors(swing: Swing) -> str:
    """What the first field is multiplied by at both ends."""
    return " → ".join(f"{value:.2f}" if value < 9.995 else f"{value:.1f}" for value in swing.factors)


def _ends(swing: Swing, key: str, written: Any) -> str:
    good, bad = swing.values[key]
    return f"{written(good)} → {written(bad)}"


def _pair(row: Mapping[str, Any]) -> str:
    return f"{plain(row['system'])} / {plain(row['against'])}"
