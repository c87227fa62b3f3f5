"""The load that prompts bring, kept warm: many questions of one process ask about the same trajectories, served alike.

Inputs are references to trajectory sets, and how they are served. Reading and compiling are pure functions of the files' content, so what
is kept is known by the files' times and sizes; a set that changed on disk is read again.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from simulator.capacity.scenario import FixedLoad, TrajectoryLoad
from simulator.catalog import find_data, is_there
from simulator.hardware.deployment import Deployment
from simulator.workload.compile import Compiled, compile_calls, decode_steps
from simulator.workload.fixed import fixed_set
from simulator.workload.load import load_trajectories
from simulator.workload.operations import scale
from simulator.workload.trajectory import TrajectorySet

Stamp = tuple[tuple[str, int, int], ...]
"""Path, time of the last change in ns, and bytes of every file of a set."""

KEPT_SETS, KEPT_LOADS = 4, 8
"""A compiled set of 400 long trajectories takes about 3 MB."""

Load = TrajectoryLoad | FixedLoad


def trajectories_of(load: Load) -> TrajectorySet:
    """The trajectories that a workload names or describes."""
    if isinstance(load, FixedLoad):
        return fixed_set(load.isl, load.osl, load.shared_prefix, load.think_s)
    found = _read(load.source, stamp_of(load.source))
    return found if load.prompt_scale == load.kept_scale == 1 else scale(found, prompt=load.prompt_scale, kept=load.kept_scale)


def compiled_load(load: Load, deployment: Deployment, seed: int, limit: int) -> Compiled:
    """Calls and prefix tree of a workload for one seed, as a deployment serves it, with calls of at most ``limit`` tokens.

    Tool delays are those of the set: whoever scales them does so on a copy.
    """
    stamp = () if isinstance(load, FixedLoad) else stamp_of(load.source)
    compiled = _compile(replace(load, tool_delay_scale=1.0), stamp, deployment.block_tokens, limit)
    if deployment.drafts == 0:
        return compiled
    calls = compiled.calls
    steps = decode_steps(compiled.ids, calls.first, calls.output_tokens, deployment.accept_pmf, deployment.drafts, seed)
    return replace(compiled, calls=calls._replace(decode_steps=steps))


def files_of(source: str) -> list[Path]:
    """The files of a trajectory set, sorted; none when there is no such set, which its reader will say."""
    path = Path(source)
    if is_there(path):
        return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [] if path.suffix or len(path.parts) > 1 else [find_data("trajectories", source)]


def stamp_of(source: str) -> Stamp:
    """What tells that the files of a set are the same as before."""
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files_of(source))


@lru_cache(maxsize=KEPT_SETS)
def _read(source: str, stamp: Stamp) -> TrajectorySet:
    return load_trajectories(source)


@lru_cache(maxsize=KEPT_LOADS)
def _compile(load: Load, stamp: Stamp, block_tokens: int, limit: int) -> Compiled:
    """The same for every seed: only accepted lengths of drafts depend on it."""
    return compile_calls(
        trajectories_of(load),
        block_tokens=block_tokens,
        history=load.history,
        marker=load.marker,
        stops=load.stops,
        max_context_tokens=limit,
    )
