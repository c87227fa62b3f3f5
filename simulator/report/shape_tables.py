"""Tables of a shape search: the shapes that were simulated, those that were rated on paper only, and the layouts that do not fit.

Input is a `ShapeAnswer`.
"""

from collections.abc import Sequence

from simulator.capacity.shape import ShapeAnswer, Tried
from simulator.report.phrases import limited_by, number, percent, plain, tier, times, words
from simulator.report.tables import Sheet

FINALISTS = (
    "P: prefill workers, D: decode workers; on paper: by rate matching (docs/shape.md); paper/held: how far that lies from the simulation; "
    "agents/MW and W/GPU: accelerator basis; binds: what breaks first on paper; limited by: in the simulation; dominated: another row "
    "holds as many per GPU and per MW"
)


def shape_sheets(found: ShapeAnswer) -> list[Sheet]:
    """All tables of a search; none for what is empty."""
    return [finalists_sheet(found), *_some(runners_up_sheet(found)), *_some(refused_sheet(found))]


def finalists_sheet(found: ShapeAnswer) -> Sheet:
    """One row a simulated shape, best first; the base last."""
    rows = tuple(_row(found, tried) for tried in (*found.finalists, found.base))
    columns = (
        "shape", "seats", "GPUs", "agents\non paper", "agents\nheld", "paper\n/held", "agents\n/GPU", "agents\n/MW", "W/GPU", "cache\nhit",
        "binds on paper", "limited by", "",
    )  # fmt: skip
    title = f"Shapes of up to {found.gpus} GPUs of {plain(found.system)} at {tier(found.slo)}, by agents per {_unit(found)}"
    return Sheet(title, columns, rows, "lrrrrrrrrrlll", "; ".join((FINALISTS, *map(plain, found.cautions))))


def _row(found: ShapeAnswer, tried: Tried) -> tuple[str, ...]:
    answer, paper = tried.answer, tried.paper
    assert answer is not None, "a finalist was simulated"
    pools = answer.broken.pools if answer.broken else ()
    return (
        _name(found, tried),
        f"{tried.shape.seats}" if tried.shape else "–",
        f"{tried.gpus}",
        f"{paper.agents:,}" if paper else "–",
        f"{answer.agents_held:,}",
        number(tried.ratio),
        number(answer.agents_per_gpu),
        number(answer.agents_per_mw.accelerator),
        number(answer.accelerator_w_per_gpu),
        percent(answer.cache_hit) if answer.agents_held else "–",
        _binds(tried),
        limited_by(answer.limiter, answer.binding_pool, pools),
        "best" if tried is found.best else "dominated" if found.dominated(tried) else "",
    )


def runners_up_sheet(found: ShapeAnswer) -> Sheet:
    """The best shape of each further family, on paper."""
    rows = tuple(
        (
            tried.name,
            f"{tried.shape.seats}" if tried.shape else "–",
            f"{tried.gpus}",
            f"{tried.paper.agents:,}",
            number(tried.paper.agents_per_gpu),
            number(tried.paper.agents_per_mw),
            _binds(tried),
        )
        for tried in found.runners_up
        if tried.paper
    )
    columns = ("shape", "seats", "GPUs", "agents\non paper", "agents\n/GPU", "agents\n/MW", "binds on paper")
    note = f"not simulated; {found.rated} shapes were rated, of each pair of layouts the best is shown"
    return Sheet("Runners-up, on paper", columns, rows, "lrrrrrl", note)


def refused_sheet(found: ShapeAnswer) -> Sheet:
    """Layouts that do not fit, with the reason."""
    roles: dict[tuple[str, str], list[str]] = {}
    for refused in found.refused:
        roles.setdefault((refused.layout, refused.reason), []).append(refused.role)
    rows = tuple((plain(layout), ", ".join(of), plain(reason)) for (layout, reason), of in roles.items())
    return Sheet("Layouts that do not fit", ("worker", "as", "reason"), rows, "lll")


def shape_sentence(found: ShapeAnswer) -> str:
    """What the search found, in plain words."""
    best, unit = found.best, _unit(found)
    score = best.score(found.by)
    low, high = found.gap
    gap = f" On paper the simulated shapes hold {low:.2f} to {high:.2f} of what they hold in the simulation." if low == low else ""
    if best is found.base or not found.base.score(found.by):
        return f"{best.name} holds most: {number(score)} agents per {unit}.{gap}"
    factor = times(score / found.base.score(found.by))
    return (
        f"{best.name}, on {best.gpus} GPUs, holds {number(score)} agents per {unit}, {factor} the base {plain(found.base.name)} "
        f"({number(found.base.score(found.by))}).{gap}"
    )


def _unit(found: ShapeAnswer) -> str:
    return "MW of accelerator power" if found.by == "mw" else "GPU"


def _name(found: ShapeAnswer, tried: Tried) -> str:
    """A shape; the base by its profile's name with its shape."""
    if tried is not found.base:
        return tried.name
    return f"base: {tried.shape or plain(tried.name)}"


def _binds(tried: Tried) -> str:
    """What breaks first on paper."""
    if tried.paper is None:
        return "–"
    return f"{words(tried.paper.by)} ({tried.paper.pool})"


def _some(sheet: Sheet) -> Sequence[Sheet]:
    return [sheet] if sheet.rows else []
