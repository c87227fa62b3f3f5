"""Watts of the accelerators while a cell runs. Inputs are what a source of readings says.

A value that a source does not give is missing (None), never 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Drawn:
    """Mean draw and energy over a window, and where they come from, with the scope."""

    mean_w: float | None = None
    energy_j: float | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()


class Power:
    """A source of watts; this one has none."""

    async def begin(self) -> None:
        """Before a cell."""

    async def watch(self) -> None:
        """While it runs, until cancelled."""

    async def end(self, start_s: float, end_s: float) -> Drawn:
        """What was drawn between two times of the run's clock."""
        return Drawn()


NO_POWER = Power()
