"""The drawing surface of every figure: one theme, one palette, and matplotlib canvases turned into inline SVG whose bytes never vary.

Colours are drawn with fixed hex values and written as CSS variables with those values as fallback, so that a figure follows the page into
dark mode and still stands alone. The eight system colours keep apart for the common forms of colour blindness (after Okabe and Ito, 2008).
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

WIDTH_IN = 10.0
"""Width of every figure: the column of the report."""

INK, MUTED, GRID, SURFACE, BAD = "#14181f", "#5b6472", "#dfe3e8", "#fdfdfe", "#b4231f"
SYSTEMS = ("#1f6fb4", "#cf5515", "#0c8a63", "#9c4f93", "#a27408", "#2a8fa8", "#6b5bd0", "#78716c")
TERMS = {
    "prefill_compute": "#b3541e",
    "decode_compute": "#d9a441",
    "kv_read": "#5aa9c9",
    "weights": "#2d6a9f",
    "launch_floor": "#8a93a0",
    "idle": "#d5dae1",
}
BLOCKED = {"kv_memory": "#8c3b70", "seats": "#b871a0", "token_budget": "#dcb3cf"}
STAGES = {
    "decode_seat": "#6b1f53",
    "prefill_queue": "#a8528a",
    "prefill": "#ad5a22",
    "decode_slot": "#54479c",
    "link_queue": "#c58fd0",
    "transfer": "#4c8f7b",
    "first_decode": "#3f78a8",
    "decode": "#7f9bb5",
}
"""Waits in purples, services in the colours of what they do."""

VARIABLES = {
    INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface", BAD: "bad",
    **{colour: f"s{n}" for n, colour in enumerate(SYSTEMS, 1)},
    **{colour: f"t-{name.replace('_', '-')}" for name, colour in TERMS.items()},
    **{colour: f"b-{name.replace('_', '-')}" for name, colour in BLOCKED.items()},
    **{colour: f"c-{name.replace('_', '-')}" for name, colour in STAGES.items()},
}  # fmt: skip
"""Hex colour -> name of the CSS variable that the page's style sheet sets for light and dark."""

THEME: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Segoe UI", "Helvetica", "Arial"],
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

LABEL_CHARACTERS, LINE_CHARACTERS = 64, 120
"""Longest line of a tick's label or a legend, and of any other text in a figure; the page's tables and the CSV have names whole."""

DARK_ON = "#15191f"
"""Text on a light colour of a figure in both modes: no CSS variable."""


@dataclass(frozen=True)
class Drawing:
    """A finished figure: the finding as its title, the picture, how to read it, and the numbers in it as CSV where it brings them."""

    name: str
    title: str
    svg: str
    caption: str
    data: str = ""


@contextmanager
def canvas(width_in: float, height_in: float) -> Iterator[Canvas]:
    """A canvas under the project's theme; the caller's matplotlib settings stay as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(THEME)
        yield Canvas(figsize=(width_in, height_in), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09))


def draw(name: str, size_in: tuple[float, float], paint: Callable[[Canvas], None], alt: str) -> str:
    """Paint a canvas and return it as one ``<svg>`` element.

    Parameters
    ----------
    name : str
        Prefix of every id in the figure, so that several figures share a page.
    size_in : (width, height)
        In inches; 10 inches are the width of the report's column.
    alt : str
        What a reader who cannot see the picture is told.
    """
    with canvas(*size_in) as figure:
        matplotlib.rcParams["svg.hashsalt"] = f"agentwatt-{name}"
        paint(figure)
        _shorten(figure)
        _lay_out(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(text.getvalue(), name, alt)


def _lay_out(figure: Canvas) -> None:
    """Places everything once and for all; an engine that stays with the figure has all of it drawn once more for that, to nowhere."""
    FigureCanvasSVG(figure)
    figure.set_dpi(FigureCanvasSVG.fixed_dpi)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)


def _shorten(figure: Canvas) -> None:
    """Cuts every line of text to what a figure has room for: a name of hundreds of letters would leave none for the axes."""

    def short(text: str, most: int = LABEL_CHARACTERS) -> str:
        return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in text.split("\n"))

    found = figure.findobj(lambda artist: isinstance(artist, Text | Legend))
    for text in (artist for artist in found if isinstance(artist, Text)):
        text.set_text(short(text.get_text(), LINE_CHARACTERS))
    for text in (text for artist in found if isinstance(artist, Legend) for text in artist.get_texts()):
        text.set_text(short(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        whole = axis.get_major_formatter()
        if isinstance(whole, FuncFormatter):  # labels given one by one, too
            axis.set_major_formatter(FuncFormatter(lambda value, place, whole=whole: short(whole(value, place))))


def _inline(svg: str, name: str, alt: str) -> str:
    """The ``<svg>`` element alone: no prolog, ids of its own, sized by the page, colours as CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    box = re.search(r'viewBox="[^"]+"', svg)
    if box is None:
        raise AssertionError("matplotlib wrote an SVG without a view box")
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {names} {box.group()} role="img" aria-label={quoteattr(alt)}>'
    svg = head + f"<title>{escape(alt)}</title>" + svg[svg.index(">") + 1 :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable},{colour})")
    return "\n".join(line.rstrip() for line in svg.splitlines())


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two hex colours, 1 to 21 (WCAG 2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def text_on(colour: str) -> str:
    """The colour of text on an area of this colour."""
    return max((SURFACE, DARK_ON), key=lambda text: contrast(text, colour))


def colours(names: list[str]) -> dict[str, str]:
    """System -> colour, by its place in the list; beyond eight systems the colours come again."""
    return {name: SYSTEMS[place % len(SYSTEMS)] for place, name in enumerate(names)}


LEGEND_CHARACTERS = 90
"""Longer legends take two rows."""


def legend(figure: Canvas, entries: dict[str, str], columns: int = 0) -> None:
    """A legend of colour swatches above all panels, in one row or so many columns."""
    handles = [Line2D([], [], color=colour, linewidth=5, solid_capstyle="butt") for colour in entries.values()]
    ncols = columns or (len(entries) if sum(map(len, entries)) <= LEGEND_CHARACTERS else -(-len(entries) // 2))
    figure.legend(handles, list(entries), loc="outside upper left", ncols=ncols, fontsize=9.5, handlelength=1.2, columnspacing=1.8)


def count_axis(axes: Axes, low: float, high: float) -> None:
    """A logarithmic x axis of counts with plain numbers at powers of two."""
    ticks = [2**k for k in range(18) if low <= 2**k <= high]
    while len(ticks) > 9:
        ticks = ticks[::2]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low / 1.1, high * 1.15)


def plain_log_axis(axis: Any, low: float, high: float) -> None:
    """Plain numbers at 1, 2 and 5 of each decade on a logarithmic axis that runs from ``low`` to ``high``; at more where it is short."""
    ticks = [m * 10.0**e for e in range(-4, 8) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(ticks) < 3:
        ticks = [m * 10.0**e for e in range(-4, 8) for m in (1, 1.5, 2, 3, 4, 5, 7) if low <= m * 10.0**e <= high]
    while len(ticks) > 8:
        ticks = ticks[::3] if ticks[0] in (10.0**e for e in range(-4, 8)) and len(ticks) > 12 else ticks[::2]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
