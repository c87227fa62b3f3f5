"""The GPU's sensors, played by a stand-in for NVML: watts from the counter, from samples or from nothing, and words for throttling."""

from types import SimpleNamespace
from typing import Any

import pytest

from simulator.calibration.gpu_meter import Meter, Reading, mean_watts, open_meter, throttle_words


class NoSensorError(Exception):
    """What NVML raises for a sensor that a GPU lacks."""


def nvml(**answers: Any) -> Any:
    """A driver that gives these answers, and to every other question that it does not support it."""

    def answer(name: str) -> Any:
        def asked(*_: Any) -> Any:
            if name not in answers:
                raise NoSensorError(name)
            return answers[name]

        return asked

    names = (
        "TotalEnergyConsumption",
        "PowerUsage",
        "ClockInfo",
        "Temperature",
        "CurrentClocksThrottleReasons",
        "Name",
        "EnforcedPowerLimit",
    )
    functions = {f"nvmlDeviceGet{name}": answer(name) for name in names}
    return SimpleNamespace(NVMLError=NoSensorError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0, **functions)


def test_all_sensors() -> None:
    driver = nvml(TotalEnergyConsumption=5_000, PowerUsage=400_000, ClockInfo=1_980, Temperature=50, CurrentClocksThrottleReasons=4)
    assert Meter(driver, None, lambda: 7.0).look() == Reading(7.0, 5.0, 400.0, 1_980, 1_980, 50, 4)


def test_what_the_driver_does_not_give_is_missing() -> None:
    meter = Meter(nvml(), None, lambda: 7.0)
    assert meter.look() == Reading(7.0)
    assert meter.about() == {}
    assert mean_watts([meter.look()] * 5).mean_w is None


def test_name_and_cap_are_told() -> None:
    assert Meter(nvml(Name=b"NVIDIA H200", EnforcedPowerLimit=700_000), None, float).about() == {"gpu": "NVIDIA H200", "power_cap_w": "700"}


def test_watts_from_first_tick_to_last() -> None:
    """300 W; the counter moves every 0.1 s, is looked at every 0.03 s, and stood still for a while before the window."""
    readings = [Reading(0.03 * i, energy_j=300.0 * 0.1 * int(0.03 * i / 0.1 + 1e-9), power_w=1.0) for i in range(101)]
    found = mean_watts(readings)
    assert found.how == "energy counter"
    assert found.mean_w == pytest.approx(300, rel=0.02)


def test_samples_when_there_is_no_counter() -> None:
    """The first second is left out: the driver's samples still hold what came before."""
    readings = [Reading(0.1 * i, power_w=100.0 if i < 10 else 500.0) for i in range(31)]
    assert mean_watts(readings).mean_w == 500
    assert mean_watts(readings).how == "power samples"


@pytest.mark.parametrize("readings", [[], [Reading(0.0), Reading(1.0)], [Reading(0.0, energy_j=5.0), Reading(3.0, energy_j=5.0)]])
def test_missing_is_missing(readings: list[Reading]) -> None:
    """Neither an empty window nor a counter that stands still is 0 W."""
    assert mean_watts(readings).mean_w is None


def test_throttling_in_words() -> None:
    assert throttle_words([Reading(0.0, throttle=4), Reading(1.0, throttle=0x21), Reading(2.0)]) == "power cap, thermal (software)"
    assert throttle_words([Reading(0.0, throttle=1), Reading(1.0)]) == ""


def test_gpu_is_found_as_cuda_counts() -> None:
    asked: list[Any] = []
    driver = SimpleNamespace(
        nvmlInit=lambda: asked.append("init"),
        nvmlDeviceGetHandleByIndex=lambda index: asked.append(index),
        nvmlDeviceGetHandleByUUID=lambda name: asked.append(name),
    )
    open_meter(driver, 1, "", float)
    open_meter(driver, 1, "5,3", float)
    open_meter(driver, 0, "GPU-ab", float)
    open_meter(driver, 0, "²", float)
    assert [each for each in asked if each != "init"] == [1, 3, "GPU-ab", "²"]
