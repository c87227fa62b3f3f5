"""Points of a sweep on a Dask cluster that its user runs (extra ``dask``). Inputs are the scheduler's address and the points.

Workers need the same agentwatt and must reach the files that a scenario names by the same paths: every point is checked by its key.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from simulator.capacity.build import load_profiles
from simulator.capacity.hold import compile_kernel
from simulator.capacity.point import Progress
from simulator.capacity.scenario import Scenario
from simulator.capacity.sweep_key import ground, point_key
from simulator.capacity.sweep_plan import SweepPoint
from simulator.capacity.sweep_row import Row, answer_point
from simulator.errors import Mistake, UserError

PATIENCE_S = 20
"""How long a scheduler may take to answer, and its first worker to come."""
SAME = "workers with this agentwatt, numpy and numba, that reach the scenario's files by the same paths"


def on_cluster(address: str, points: Sequence[SweepPoint], ask: str, progress: Progress | None) -> Iterator[tuple[int, Row]]:
    """The place of each point and its row, in the order in which they end.

    Raises
    ------
    UserError
        When there is no such cluster, or its workers are not like this machine.
    """
    try:
        import distributed
    except ImportError as error:
        raise UserError(Mistake("", "--dask", "the package distributed is not installed", hint="pip install 'agentwatt[dask]'")) from error
    try:
        connect: Any = distributed.Client  # it says nothing of its types
        client = connect(address, timeout=PATIENCE_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(Mistake("", "--dask", repr(address), "the address of a running scheduler, as in tcp://host:8786")) from error
    with client:
        workers = _workers(client, address)
        if progress:
            progress(f"{len(workers):,} workers on {len(set(workers.values())):,} hosts")
        _compiled(client, workers, points)
        futures = {client.submit(_answer, point.scenario, ask, point.key, pure=False): place for place, point in enumerate(points)}
        ended: Any = distributed.as_completed
        for future in ended(list(futures)):
            yield futures.pop(future), _result(future)
            future.release()


def _workers(client: Any, address: str) -> Mapping[str, str]:
    """Address of every worker and its host; those there now, and all like this machine."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except TimeoutError as error:
        raise UserError(Mistake("", "--dask", f"no worker at {address}", "at least one", "start `dask worker ADDRESS`")) from error
    try:
        grounds = client.run(ground)
    except Exception as error:  # whatever a worker without this package raises
        raise UserError(Mistake("", "--dask", f"a worker that cannot load agentwatt ({error})", SAME)) from error
    for worker, found in grounds.items():
        other = [name for name, value in ground().items() if found.get(name) != value]
        if other:
            raise UserError(Mistake("", "--dask", f"worker {worker} with another {', '.join(other)}", SAME))
    return {worker: str(about["host"]) for worker, about in client.scheduler_info(n_workers=-1)["workers"].items()}


def _compiled(client: Any, workers: Mapping[str, str], points: Sequence[SweepPoint]) -> None:
    """The kernel on the disk of every host before its workers all want it."""
    one_each = list({host: worker for worker, host in workers.items()}.values())
    for point in points:
        with suppress(UserError):
            compile_kernel(point.scenario)
            client.run(compile_kernel, point.scenario, workers=one_each)
            return


def _answer(scenario: Scenario, ask: str, key: str) -> Row:
    """On a worker: the row of a point, after a look whether it is the same point here."""
    if point_key(scenario, ask, load_profiles(scenario)) != key:
        raise UserError(Mistake(scenario.name, "--dask", "a worker that reads other profiles or trajectories", SAME))
    return answer_point(scenario, ask)


def _result(future: Any) -> Row:
    from distributed import KilledWorker

    try:
        row: Row = future.result()
    except KilledWorker as error:
        hint = "the points finished so far are kept; workers with more memory, then the same command again"
        raise UserError(Mistake("", "--dask", "workers that died over the same point", hint=hint)) from error
    return row
