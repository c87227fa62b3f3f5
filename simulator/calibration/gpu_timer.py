"""How long a call takes and what the GPU draws meanwhile. Inputs are a kernel and a meter; time comes from CUDA events.

Short calls are captured in a CUDA graph, as serving engines do, so that the host's launches are not what is timed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from simulator.calibration.gpu_kernels import Kernel
from simulator.calibration.gpu_meter import Meter, Reading, Watts, mean_watts, throttle_words

BURST_S = 1e-3
"""Calls that are launched by one graph take at least this long together."""
CHUNK_S = 0.04
"""Work between two looks at the meter."""
LONGEST_BURST = 2000
LOOK_EVERY_S = 0.5
FEWEST_CHUNKS = 5
PERIOD_S = 0.02
"""Work and pause of a cell that is not always busy: about a decode step."""


@dataclass(frozen=True)
class Measured:
    """What a cell showed: seconds of a call (median, and the 10th and 90th percentile over chunks), calls and seconds of the window."""

    time_s: float | None
    low_s: float | None
    high_s: float | None
    calls: int
    window_s: float
    watts: Watts
    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    throttle: str
    captured: bool


@dataclass
class _Window:
    readings: list[Reading] = field(default_factory=list)
    seconds_a_call: list[float] = field(default_factory=list)
    calls: int = 0


class Stopwatch:
    """Starts, stops and waits for work on one device."""

    def __init__(self, device: str) -> None:
        self.cuda = device != "cpu"

    def wait(self) -> None:
        """Until the device has nothing to do."""
        if self.cuda:
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], None]) -> float:
        """Seconds that the device takes for the work."""
        if not self.cuda:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        work()
        after.record()
        after.synchronize()
        return float(before.elapsed_time(after)) / 1e3


def rest(meter: Meter | None, settle_s: float, window_s: float) -> Measured:
    """A cell without work: wait, then look at the meter for the length of the window."""
    time.sleep(settle_s)
    window, until_s = _Window(), time.perf_counter() + window_s
    while time.perf_counter() < until_s:
        if meter:
            window.readings.append(meter.look())
        time.sleep(min(CHUNK_S, window_s / 8))
    return _measured(window, window_s, captured=False)


def measure(kernel: Kernel, device: str, meter: Meter | None, *, warm_s: float, window_s: float, busy_share: float = 1.0) -> Measured:
    """Run a kernel over and over for the length of a window, and for ``warm_s`` before it.

    Parameters
    ----------
    busy_share : float
        Share of the time that the device works; below 1 the host pauses in every period of `PERIOD_S`.
    """
    watch = Stopwatch(device)
    for i in range(min(kernel.turns, 3)):
        kernel.call(i)
    watch.wait()
    one_s = max(watch.timed(lambda: _calls(kernel, kernel.turns)) / kernel.turns, 1e-7)
    burst = min(LONGEST_BURST, kernel.turns * max(1, round(BURST_S / (one_s * kernel.turns)))) if kernel.capture else kernel.turns
    replay = _captured(kernel, burst) if watch.cuda and kernel.capture else None
    launch = replay or (lambda: _calls(kernel, burst))
    launch()  # a graph's first launch also carries it to the device
    burst_s = max(watch.timed(launch), burst * 1e-7)
    work_s = CHUNK_S if busy_share == 1.0 else PERIOD_S * busy_share
    bursts = max(1, round(min(work_s, window_s) / burst_s))

    def chunk() -> None:
        for _ in range(bursts):
            launch()

    _repeat(watch, chunk, burst * bursts, None, warm_s, busy_share, fewest=1)
    started_s = time.perf_counter()
    window = _repeat(watch, chunk, burst * bursts, meter, window_s, busy_share, fewest=FEWEST_CHUNKS)
    return _measured(window, time.perf_counter() - started_s, captured=replay is not None)


def _calls(kernel: Kernel, count: int) -> None:
    for i in range(count):
        kernel.call(i)


def _captured(kernel: Kernel, burst: int) -> Callable[[], None] | None:
    """A CUDA graph of so many calls; None where the kernel cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            _calls(kernel, burst)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        torch.cuda.synchronize()
        return None
    return lambda: graph.replay()


def _repeat(
    watch: Stopwatch, chunk: Callable[[], None], calls: int, meter: Meter | None, seconds: float, busy_share: float, *, fewest: int
) -> _Window:
    window, began_s, looked_s = _Window(), time.perf_counter(), 0.0
    while time.perf_counter() - began_s < seconds or len(window.seconds_a_call) < fewest:
        if meter:
            full = time.perf_counter() - looked_s >= LOOK_EVERY_S
            looked_s = time.perf_counter() if full else looked_s
            window.readings.append(meter.look() if full else meter.energy())
        taken_s = watch.timed(chunk)
        window.seconds_a_call.append(taken_s / calls)
        window.calls += calls
        if busy_share < 1.0:
            time.sleep(taken_s * (1 / busy_share - 1))
    if meter:
        window.readings.append(meter.look())
    return window


def _measured(window: _Window, window_s: float, *, captured: bool) -> Measured:
    times = sorted(window.seconds_a_call)
    return Measured(
        time_s=_at(times, 0.5),
        low_s=_at(times, 0.1),
        high_s=_at(times, 0.9),
        calls=window.calls,
        window_s=window_s,
        watts=mean_watts(window.readings),
        sm_mhz=_mean(reading.sm_mhz for reading in window.readings),
        memory_mhz=_mean(reading.memory_mhz for reading in window.readings),
        temperature_c=_mean(reading.temperature_c for reading in window.readings),
        throttle=throttle_words(window.readings),
        captured=captured,
    )


def _at(ordered: list[float], share: float) -> float | None:
    return ordered[round(share * (len(ordered) - 1))] if ordered else None


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
