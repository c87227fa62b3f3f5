"""What a GPU says of itself: energy, watts, clocks, temperature, why it is throttled. Inputs come from the driver, by NVML.

Settings are read and left alone.
A value that the driver does not give is missing (None), never 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from simulator.units import whole_number

THROTTLES = {
    0x1: "idle", 0x2: "clock setting", 0x4: "power cap", 0x8: "hardware slowdown", 0x10: "sync boost", 0x20: "thermal (software)",
    0x40: "thermal (hardware)", 0x80: "power brake", 0x100: "display clocks",
}  # fmt: skip
"""NVML's reasons for a lowered clock, by bit."""


@dataclass(frozen=True)
class Reading:
    """One look at the GPU."""

    time_s: float
    energy_j: float | None = None
    power_w: float | None = None
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    temperature_c: int | None = None
    throttle: int | None = None


@dataclass(frozen=True)
class Watts:
    """Mean draw over a window, and how it was got: ``energy counter``, ``power samples``, or nothing."""

    mean_w: float | None
    how: str


class Meter:
    """The sensors of one GPU.

    Parameters
    ----------
    nvml : module
        ``pynvml``, or something that answers like it.
    handle
        The GPU.
    clock : callable
        Seconds, as the caller's stopwatch counts them.
    """

    def __init__(self, nvml: Any, handle: Any, clock: Callable[[], float]) -> None:
        self.nvml, self.handle, self.clock = nvml, handle, clock

    def energy(self) -> Reading:
        """Time and the energy and power readings alone, which is quick."""
        energy_mj, power_mw = self._ask("nvmlDeviceGetTotalEnergyConsumption"), self._ask("nvmlDeviceGetPowerUsage")
        return Reading(self.clock(), None if energy_mj is None else energy_mj / 1e3, None if power_mw is None else power_mw / 1e3)

    def look(self) -> Reading:
        """All sensors."""
        quick = self.energy()
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        sm, memory, die = (getattr(self.nvml, name, 0) for name in ("NVML_CLOCK_SM", "NVML_CLOCK_MEM", "NVML_TEMPERATURE_GPU"))
        return Reading(
            quick.time_s,
            quick.energy_j,
            quick.power_w,
            self._ask("nvmlDeviceGetClockInfo", sm),
            self._ask("nvmlDeviceGetClockInfo", memory),
            self._ask("nvmlDeviceGetTemperature", die),
            reasons,
        )

    def about(self) -> dict[str, str]:
        """What stays the same through a run: name, driver, power cap in force and its default."""
        answers = {
            "gpu": self._ask("nvmlDeviceGetName"),
            "driver": self._ask_system("nvmlSystemGetDriverVersion"),
            "power_cap_w": _milli(self._ask("nvmlDeviceGetEnforcedPowerLimit")),
            "power_cap_default_w": _milli(self._ask("nvmlDeviceGetPowerManagementDefaultLimit")),
            "vbios": self._ask("nvmlDeviceGetVbiosVersion"),
        }
        return {name: _text(value) for name, value in answers.items() if value is not None}

    def others(self) -> int:
        """Processes that compute on the GPU now; 0 when the driver does not say."""
        return len(self._ask("nvmlDeviceGetComputeRunningProcesses") or ())

    def uuid(self) -> str:
        """The GPU's own identity, to be compared and never kept."""
        return _text(self._ask("nvmlDeviceGetUUID") or "")

    def _ask(self, name: str, *rest: Any) -> Any:
        function = getattr(self.nvml, name, None)
        if function is None:
            return None
        try:
            return function(self.handle, *rest)
        except self.nvml.NVMLError:
            return None

    def _ask_system(self, name: str) -> Any:
        try:
            return getattr(self.nvml, name)()
        except (AttributeError, self.nvml.NVMLError):
            return None


def open_meter(nvml: Any, index: int, visible: str, clock: Callable[[], float]) -> Meter:
    """The meter of the GPU that CUDA calls ``index``, when CUDA orders devices by bus.

    Parameters
    ----------
    visible : str
        The value of ``CUDA_VISIBLE_DEVICES``; empty when it is not set.
    """
    nvml.nvmlInit()
    names = [name.strip() for name in visible.split(",")] if visible else []
    name = names[index] if index < len(names) else str(index)
    number = whole_number(name)
    handle = nvml.nvmlDeviceGetHandleByUUID(name) if number is None else nvml.nvmlDeviceGetHandleByIndex(number)
    return Meter(nvml, handle, clock)


def mean_watts(readings: Sequence[Reading], settle_s: float = 1.0) -> Watts:
    """Mean draw over a window of readings.

    The energy counter moves in ticks, so the window is taken from its first tick to its last. Without a counter, power samples (means
    over about a second in the driver) are averaged once ``settle_s`` have passed.
    """
    ticks = [
        (after.time_s, after.energy_j)
        for before, after in pairwise(readings)
        if before.energy_j is not None and after.energy_j is not None and after.energy_j != before.energy_j
    ]
    if len(ticks) > 1:
        (start_s, start_j), (end_s, end_j) = ticks[0], ticks[-1]
        return Watts((end_j - start_j) / (end_s - start_s), "energy counter")
    begin_s = readings[0].time_s + settle_s if readings else 0.0
    samples = [reading.power_w for reading in readings if reading.power_w is not None and reading.time_s >= begin_s]
    return Watts(sum(samples) / len(samples), "power samples") if samples else Watts(None, "")


def throttle_words(readings: Sequence[Reading]) -> str:
    """Every reason seen, idling apart, in words; empty when there was none or nobody said."""
    seen = 0
    for reading in readings:
        seen |= reading.throttle or 0
    return ", ".join(word for bit, word in THROTTLES.items() if seen & bit and word != "idle")


def _milli(value: Any) -> float | None:
    return None if value is None else value / 1e3


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    return text.removesuffix(".0")
