"""A measurement run: visits of a plan become rows. Inputs are a plan, a device and a meter; what is done already is left out."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import torch

from simulator.calibration.gpu_cells import Cell, size_text
from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_kernels import Kernel, UnsupportedError, build, first_line
from simulator.calibration.gpu_meter import Meter
from simulator.calibration.gpu_plan import SETTLE_S, WARM_S, Plan, Visit
from simulator.calibration.gpu_timer import Measured, measure, rest
from simulator.errors import Mistake, UserError

OVERRUN = 1.2
"""A plan fits its budget by its expected time; a slower machine may take so much more before the run stops."""


def run(
    plan: Plan,
    done: Sequence[Row],
    *,
    device: str,
    meter: Meter | None,
    budget_s: float,
    keep: Callable[[Sequence[Row]], None],
    tell: Callable[[str], None],
) -> tuple[Row, ...]:
    """Make the visits that are not done yet, until the budget is well overrun.

    Parameters
    ----------
    keep : callable
        Gets all rows after every visit, so that a run that is killed loses one cell at most.
    tell : callable
        Gets a line of progress.

    Returns
    -------
    tuple of Row
        The rows done before and the new ones.
    """
    rows, known = list(done), {row.key for row in done}
    open_visits = [visit for visit in plan.visits if visit.key not in known]
    began_s = time.perf_counter()
    for place, visit in enumerate(open_visits, 1):
        spent_s = time.perf_counter() - began_s
        if spent_s > OVERRUN * budget_s:
            tell(f"the budget of {budget_s:.0f} s is spent; the same command makes the other {len(open_visits) - place + 1} visits")
            break
        tell(f"{place}/{len(open_visits)}, {spent_s:.0f} s: {visit.cell.id}")
        rows.append(visit_cell(visit, plan.window_s, device, meter))
        keep(rows)
        _refuse_broken_gpu(device, meter)
    return tuple(rows)


def visit_cell(visit: Visit, window_s: float, device: str, meter: Meter | None) -> Row:
    """Measure one cell; what goes wrong becomes the row's status."""
    cell, begun = visit.cell, datetime.now(UTC).isoformat(timespec="seconds")
    blank = _blank(visit, begun)
    try:
        return _filled(blank, cell, window_s, device, meter)
    except UnsupportedError as error:
        return replace(blank, status="unsupported", message=str(error))
    except torch.OutOfMemoryError as error:
        return replace(blank, status="out_of_memory", message=f"{cell.memory_bytes / 1e9:.1f} GB needed: {first_line(error)}")
    except RuntimeError as error:
        return replace(blank, status="failed", message=first_line(error))
    finally:
        gc.collect()
        if device != "cpu" and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _filled(blank: Row, cell: Cell, window_s: float, device: str, meter: Meter | None) -> Row:
    if cell.kind == "idle" and cell.part == "bare":
        # Before CUDA is touched for the first time: a context alone wakes the GPU.
        if device != "cpu" and torch.cuda.is_initialized():
            raise UnsupportedError("a CUDA context is open already; only a run's first cell can see the GPU without one")
        return _with(blank, Kernel(lambda i: None, 1, "no CUDA context", 0.0), rest(meter, min(SETTLE_S, window_s), window_s))
    if device != "cpu":
        torch.cuda.set_device(device)
    kernel = build(cell, device)
    if cell.kind == "idle":
        return _with(blank, kernel, rest(meter, min(SETTLE_S, window_s), window_s))
    share = cell.size.get("busy_percent", 100) / 100
    return _with(blank, kernel, measure(kernel, device, meter, warm_s=min(WARM_S, window_s), window_s=window_s, busy_share=share))


def _with(blank: Row, kernel: Kernel, found: Measured) -> Row:
    rate = found.calls / found.window_s
    return replace(
        blank,
        status="ok",
        message=kernel.note,
        how=f"{kernel.how}, graph" if found.captured else kernel.how,
        calls=found.calls,
        window_s=found.window_s,
        time_s=found.time_s,
        time_low_s=found.low_s,
        time_high_s=found.high_s,
        moved_bytes=kernel.moved_bytes,
        bytes_per_s=kernel.moved_bytes * rate,
        flop_per_s=blank.flops * rate,
        watts=found.watts.mean_w,
        watts_how=found.watts.how,
        sm_mhz=found.sm_mhz,
        memory_mhz=found.memory_mhz,
        temperature_c=found.temperature_c,
        throttle=found.throttle,
    )


def _blank(visit: Visit, begun: str) -> Row:
    cell = visit.cell
    return Row(
        cell=cell.id, visit=visit.number, kind=cell.kind, part=cell.part, model=cell.model, dtype=cell.dtype, size=size_text(cell.size),
        status="failed", message="", how="", calls=None, window_s=None, time_s=None, time_low_s=None, time_high_s=None, flops=cell.flops,
        bytes=cell.bytes, moved_bytes=None, bytes_per_s=None, flop_per_s=None, watts=None, watts_how="", sm_mhz=None, memory_mhz=None,
        temperature_c=None, throttle="", begun=begun,
    )  # fmt: skip


def _refuse_broken_gpu(device: str, meter: Meter | None) -> None:
    """After some faults every later call on the GPU fails, and only a new process helps; and watts must be those of the GPU that works.

    Raises
    ------
    UserError
    """
    if device == "cpu" or not torch.cuda.is_initialized():
        return
    works, metered = str(getattr(torch.cuda.get_device_properties(device), "uuid", "")), meter.uuid() if meter else ""
    if works and metered and not metered.endswith(works):
        hint = "unset CUDA_DEVICE_ORDER, or name one GPU by its UUID in CUDA_VISIBLE_DEVICES"
        raise UserError(Mistake("GPU", "", "sensors of another GPU than the one that works", "one GPU", hint))
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        hint = "the last cell is kept as failed; give the same command again to go on"
        raise UserError(Mistake("GPU", "", first_line(error), "a GPU that answers", hint)) from error


def provenance(device: str, meter: Meter | None, versions: Mapping[str, str]) -> dict[str, str]:
    """The head of an evidence file: machine, GPU, driver and versions; nothing that names the machine's owner."""
    import platform

    about = {"date": datetime.now(UTC).date().isoformat(), "gpu": "none, CPU", "driver": "", "torch": torch.__version__}
    about |= {"cuda": torch.version.cuda or "", "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    if meter:
        about |= meter.about()
    elif device != "cpu":
        about["gpu"] = torch.cuda.get_device_name(device)
    return {**about, **versions}
