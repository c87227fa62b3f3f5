"""Finds and reads trajectories by what they are: a shipped name, a native file, or a foreign log recognised from its content."""

from collections.abc import Callable
from pathlib import Path

from simulator.catalog import find_data
from simulator.errors import Mistake, UserError
from simulator.workload.agentperf_local import is_agentperf_local, read_agentperf_local
from simulator.workload.native import is_native, read_native
from simulator.workload.source import files, is_tar
from simulator.workload.trajectory import TrajectorySet
from simulator.workload.weka import is_weka, read_weka


def load_trajectories(ref: str | Path) -> TrajectorySet:
    """A trajectory set.

    Parameters
    ----------
    ref : str or Path
        Name of a shipped set (`agentperf_like`), or path of a native file (``.jsonl``, ``.jsonl.gz``), of Weka sessions or of an
        agentperf-local recording (file, folder or tar archive).

    Raises
    ------
    UserError
        When there is nothing of that name, or its content is none of these or holds mistakes.
    """
    path = Path(ref)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            hint = "relative paths start where the command runs"
            raise UserError(Mistake(str(ref), "trajectories", "no such file or folder", hint=hint))
        return read_native(find_data("trajectories", str(ref)))
    if path.is_file() and not is_tar(path) and is_native(path):
        return read_native(path)
    read = _reader(path)
    if read is not None:
        return read(path)
    if path.is_file() and path.name.removesuffix(".gz").endswith(".jsonl"):
        return read_native(path)  # says what is wrong with it
    known = "a native .jsonl file, Weka sessions or an agentperf-local recording (a file, a folder or a tar archive)"
    raise UserError(Mistake(str(path), "trajectories", "a format that is not known", known))


def _reader(path: Path) -> Callable[[Path], TrajectorySet] | None:
    """Reader of the first foreign log found under a path."""
    for suffix in (".json", ".jsonl"):
        for _, content in files(path, suffix):
            if is_weka(content):
                return read_weka
            if is_agentperf_local(content):
                return read_agentperf_local
    return None
