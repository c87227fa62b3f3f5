"""What the answer of a point follows from, as one digest: by it a sweep knows what is finished. Inputs are a scenario and its profiles.

The digest covers the scenario's values, every value of its profiles, the bytes of its trajectories, and the ground: this package's code and
the versions of what computes with it. Names of files are not in it, nor is a scenario's remark.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from simulator.capacity.build import load_profiles
from simulator.capacity.loads import Stamp, files_of, stamp_of
from simulator.capacity.scenario import Scenario, TrajectoryLoad
from simulator.catalog import folder

CODE = ("capacity", "engine", "hardware", "workload")
"""Packages that an answer comes from."""


@cache
def ground() -> Mapping[str, str]:
    """Versions, and digests of the code and of the profiles that ship; equal on all machines of one sweep."""
    package = Path(__file__).resolve().parents[1]
    code = [*package.glob("*.py"), *(path for part in CODE for path in (package / part).rglob("*.py"))]
    laws = [path for kind in ("engines", "laws") for path in folder(kind).iterdir() if path.is_file()]
    return {
        "agentwatt": _version("agentwatt"),
        "code": _digest_of_files(sorted(code), package),
        "laws": _digest_of_files(sorted(laws), folder("laws").parent),
        **{name: _version(name) for name in ("numba", "numpy")},
        "python": ".".join(python_version().split(".")[:2]),
    }


def point_key(scenario: Scenario, ask: str, profiles: Sequence[Any]) -> str:
    """Digest of all that a point's answer follows from.

    Parameters
    ----------
    scenario : Scenario
    ask : {"capacity", "run"}
    profiles : sequence
        System, model and deployment as loaded.
    """
    load = scenario.workload
    content = ""
    if isinstance(load, TrajectoryLoad):
        content, load = _content(load.source, stamp_of(load.source)), replace(load, source="")
    bare = replace(scenario, system=None, model=None, deployment=None, workload=load, notes="")
    parts = (ask, repr(bare), *map(repr, profiles), content, repr(dict(ground())))
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def scenario_key(scenario: Scenario, ask: str) -> str:
    """The `point_key` of a scenario; of one with cells the digest of theirs.

    Raises
    ------
    UserError
        When a profile or the load is bad.
    """
    cells = scenario.cell_scenarios() if scenario.cells else (scenario,)
    return digest_of([point_key(cell, ask, load_profiles(cell)) for cell in cells])


def digest_of(keys: Sequence[str]) -> str:
    """One digest of several; a single one is itself."""
    return keys[0] if len(keys) == 1 else hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]


@lru_cache(maxsize=8)
def _content(source: str, stamp: Stamp) -> str:
    root = Path(source)
    return _digest_of_files(files_of(source), root if root.is_dir() else None)


def _digest_of_files(paths: Sequence[Path], root: Path | None) -> str:
    """Digest of the files' bytes, and of their places under a root."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.update(f"{path.relative_to(root).as_posix() if root else ''} {digest}\n".encode())
    return found.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0+checkout"
