"""The tornado of what limits: agents held with more and with less of each resource. Inputs are answers with an attribution."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from simulator.capacity.results import Answer, Attribution
from simulator.report.canvas import INK, SYSTEMS, WIDTH_IN, Drawing, draw, legend
from simulator.report.export import csv_text
from simulator.report.phrases import number, plain, tier
from simulator.report.study_tables import attribution_frame

CAPTION = """Each bar gives the deployment a tenth more, and a tenth less, of one resource alone, and seeks the edge of the SLO again
with the same load and seed. The line is what is held as it is. How small a change tells nothing stands beneath each table."""


def attribution_drawing(answers: Sequence[Answer]) -> Drawing:
    """A panel of bars for each answer."""
    found = [(answer, answer.attribution) for answer in answers if answer.attribution]

    def paint(figure: Canvas) -> None:
        rows = -(-len(found) // 2)
        for place, (answer, attribution) in enumerate(found):
            axes = figure.add_subplot(rows, min(2, len(found)), place + 1)
            _bars(axes, attribution)
            axes.set_title(f"{plain(answer.system)} at {tier(answer.slo)}")
        legend(figure, {"a tenth more": SYSTEMS[0], "a tenth less": SYSTEMS[1]})

    title = ". ".join(f"{plain(a.system)} at {tier(a.slo)}: {_short(found)}" for a, found in found)
    height = 0.7 + 2.7 * -(-len(found) // 2)
    return Drawing(
        "limits_tornado", title, draw("limits-tornado", (WIDTH_IN, height), paint, title), CAPTION, csv_text(attribution_frame(answers))
    )


def _short(found: Attribution) -> str:
    best = found.gains[0]
    share = best.more / found.agents - 1
    return f"{plain(best.words)} gives most ({100 * share:+.1f} %)" if share > found.noise else "no single resource gives more"


def _bars(axes: Axes, found: Attribution) -> None:
    shown = sorted(found.gains, key=lambda gain: -abs(gain.more - gain.less))
    for place, gain in enumerate(shown):
        for end, colour in ((gain.more, SYSTEMS[0]), (gain.less, SYSTEMS[1])):
            axes.barh(place, end - found.agents, left=found.agents, height=0.62, color=colour)
    axes.axvline(found.agents, color=INK, linewidth=1.1)
    axes.annotate(
        number(found.agents),
        (found.agents, 1),
        (3, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=8,
    )
    axes.set_yticks(range(len(shown)), [plain(gain.words) for gain in shown], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("agents held")
