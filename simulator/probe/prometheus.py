"""Samples of a Prometheus text. Input is what a ``/metrics`` page says."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Sample:
    """A value of a metric under its labels."""

    name: str
    labels: dict[str, str]
    value: float


def read_samples(text: str, names: Iterable[str] | None = None) -> list[Sample]:
    """The samples, or those of the names asked for; lines that are none, and values that are not numbers, are passed over."""
    wanted = None if names is None else frozenset(names)
    found = []
    for line in text.splitlines():
        if not line or line[0] == "#" or (wanted is not None and _name(line) not in wanted):
            continue
        match = SAMPLE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if value == value:
            labels = {name: ESCAPED.sub(_unescaped, text) for name, text in LABEL.findall(match[2] or "")}
            found.append(Sample(match[1], labels, value))
    return found


def _name(line: str) -> str:
    return line.split("{", 1)[0].split(" ", 1)[0]


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n"}.get(match[1], match[1])
