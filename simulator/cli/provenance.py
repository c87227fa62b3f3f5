"""What made a page, as a command knows it: versions, a digest of what was asked, the command line. Inputs are scenarios or rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.capacity.scenario import Scenario
    from simulator.report.provenance import Provenance

DIGITS = 12
"""Of a digest of code or laws, as a page shows it."""


def provenance_of(scenario: Scenario, command: str, ask: str = "capacity") -> Provenance:
    """Of the answer to a scenario; the digest of a single point is the one that a sweep knows it by."""
    from simulator.capacity.sweep_key import scenario_key
    from simulator.cli.version import version
    from simulator.report.provenance import Provenance

    load, digest = _load(scenario), scenario_key(scenario, ask)
    return Provenance(version(), scenario.name, command, scenario.seeds, load, scenario.notes, digest, _versions())


def provenance_of_rows(kind: str, name: str, command: str, *rows: object) -> Provenance:
    """Of what was made of measured rows."""
    from simulator.cli.version import version
    from simulator.report.phrases import plain
    from simulator.report.provenance import Provenance

    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:32]
    return Provenance(version(), plain(name), command, digest=digest, versions=_versions(), kind=kind)


def _versions() -> tuple[tuple[str, str], ...]:
    from simulator.capacity.sweep_key import ground

    return tuple((name, value[:DIGITS]) for name, value in ground().items() if name != "agentwatt")


def _load(scenario: Scenario) -> str:
    """The workload in a few words."""
    load = scenario.workload
    if hasattr(load, "source"):
        return f"trajectories {Path(load.source).name}"
    return f"fixed calls of {load.isl:,} input and {load.osl:,} output tokens"
