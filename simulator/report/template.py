"""The templates of all pages, with the colours of both modes at hand. Inputs are packages that keep templates, and names of them."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from simulator.report.canvas import VARIABLES
from simulator.report.phrases import plain

DARK = {
    "ink": "#e8ebf0", "muted": "#a3adba", "grid": "#2c333d", "surface": "#14181e", "bad": "#ff6b60",
    **dict(zip((f"s{n}" for n in range(1, 9)),
               ("#5ea5ea", "#f0824a", "#35bd92", "#d48acb", "#dbab38", "#5cc0d6", "#a297f5", "#b4ada8"), strict=True)),
    "t-prefill-compute": "#d9743a", "t-decode-compute": "#e0b45e", "t-kv-read": "#7cc3e0", "t-weights": "#4d8fc9",
    "t-launch-floor": "#8f99a8", "t-idle": "#3a424d",
    "b-kv-memory": "#c06aa2", "b-seats": "#d391bf", "b-token-budget": "#70435f",
    "c-decode-seat": "#c0639d", "c-prefill-queue": "#cf7fb4", "c-prefill": "#d97b45", "c-decode-slot": "#8d80d8", "c-link-queue": "#a878b8",
    "c-transfer": "#63b39a", "c-first-decode": "#64a5dc", "c-decode": "#7c98b2",
}  # fmt: skip
"""Dark values of the figures' CSS variables; the light ones are `VARIABLES`."""


@cache
def templates(*packages: str) -> Environment:
    """The templates of packages, the first one's before the others'; autoescape is on, control characters are not passed on, and a missing
    name is an error.

    ``light`` and ``dark`` are the CSS variables of both modes, by name.
    """
    loader = ChoiceLoader([PackageLoader(package, "templates") for package in packages])
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_plain)
    made.globals |= {"light": {name: colour for colour, name in VARIABLES.items()}, "dark": DARK}
    return made


def _plain(value: Any) -> Any:
    """Text without control characters, its line breaks kept; what is markup already, and numbers, as they are."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(plain, value.split("\n")))
    return value


def template(name: str) -> Template:
    """A template of the reports."""
    return templates("simulator.report").get_template(name)
