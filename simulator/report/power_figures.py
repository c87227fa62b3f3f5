"""The figure of a set-up's power over time on the four bases. Inputs are operating points."""

import numpy as np
from matplotlib.figure import Figure as Canvas

from simulator.capacity.results import Summary
from simulator.report.canvas import INK, MUTED, WIDTH_IN, Drawing, draw
from simulator.report.load_figures import stretched
from simulator.report.phrases import number, plain

POWER = """One seed, from the first agent's start, for all GPUs of the set-up. Accelerator: modelled draw of die and HBM, idle watts
included; facility: that and the share of all else in node or rack under load, times the PUE; TDP and nameplate do not follow the load.
Means over equal stretches of time."""

LINES = {"accelerator": (INK, "-"), "facility": (MUTED, "-"), "tdp": (INK, ":"), "nameplate": (MUTED, ":")}


def power_over_time(summary: Summary) -> Drawing | None:
    """Kilowatts of the whole set-up on each basis; None when there are no levels over time."""
    if not summary.power_w:
        return None

    def paint(figure: Canvas) -> None:
        axes = figure.subplots()
        for basis, (colour, dashes) in LINES.items():
            level = stretched(np.asarray(summary.power_w[basis])) / 1000
            axes.plot(stretched(summary.series.time_s) / 60, level, color=colour, linestyle=dashes, linewidth=1.4)
        axes.legend(axes.get_lines(), ["TDP" if basis == "tdp" else basis for basis in LINES], loc="best", fontsize=8, ncols=4)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("kW in all")
        axes.set_xlabel("simulated time (min)")

    draws = (summary.gpus * getattr(summary.watts_per_gpu, basis) / 1000 for basis in ("accelerator", "facility"))
    modelled, facility = map(number, draws)
    title = f"{plain(summary.system)}: {summary.gpus} GPUs draw {modelled} kW in the steady window, {facility} kW on the facility basis"
    return Drawing("power", title, draw("power", (WIDTH_IN, 2.6), paint, title), POWER)
