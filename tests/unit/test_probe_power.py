"""Sources of watts: readings by hand, and what is said when they are too few."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import pytest

from simulator.calibration.gpu_meter import Reading
from simulator.errors import UserError
from simulator.probe.client import Client
from simulator.probe.power import NO_POWER, Drawn, Power, Sensors, WattsFile, dcgm_sensors, redfish_sensors, redfish_watts, watts_of
from simulator.probe.power_source import open_power
from simulator.wire.address import address_of
from tests.unit.fake_endpoint import serving
from tests.unit.fake_engine import Engine


def drawn(power: Power, start_s: float = 0.0, end_s: float = 4.0, looks: int = 4) -> Drawn:
    """A cell with so many looks in it."""

    async def played() -> Drawn:
        await power.begin()
        for _ in range(looks):
            if isinstance(power, Sensors):
                await power._take()
        try:
            return await power.end(start_s, end_s)
        finally:
            power.close()

    return asyncio.run(played())


def sensors(*seen: Mapping[str, Reading], stale: bool = False) -> Sensors:
    left: Iterator[Mapping[str, Reading]] = iter(seen)

    async def look() -> Mapping[str, Reading]:
        return next(left)

    return Sensors(look, "NVML", "GPU", stale)


def test_energy_counters_come_first_and_devices_add_up() -> None:
    readings = [{"0": Reading(t, 100.0 * t, 1.0), "1": Reading(t, 50.0 * t, 1.0)} for t in range(6)]
    found = drawn(sensors(*readings))
    assert found.mean_w == pytest.approx(150.0)
    assert found.energy_j == pytest.approx(600.0)
    assert found.source == "NVML, energy counter, 2 devices, scope: GPU"


def test_a_device_that_says_nothing_makes_the_sum_missing() -> None:
    readings = [{"0": Reading(t, 100.0 * t, 1.0), "1": Reading(t)} for t in range(6)]
    found = drawn(sensors(*readings))
    assert (found.mean_w, found.energy_j, found.source) == (None, None, None)
    assert found.notes == ("no watts from NVML: 1 of 2 devices gave enough readings",)
    assert drawn(sensors(*[{}] * 6)).mean_w is None


def test_readings_that_may_be_old_count_from_their_first_change() -> None:
    old, new = {"0": Reading(0.0, None, 500.0)}, {"0": Reading(9.0, None, 700.0)}
    later = {"0": Reading(11.0, None, 700.0)}
    assert drawn(sensors(old, old, new, later, later, later, stale=True)).mean_w == 700.0
    assert drawn(sensors(*[old] * 6, stale=True)).mean_w is None, "an exporter that did not renew says nothing of the cell"


def test_a_dcgm_exporter() -> None:
    times = iter(range(100))
    engine = Engine()
    lines = [
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="{gpu}",UUID="GPU-{gpu}"}} {300 + t}\n'
        f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu="{gpu}",UUID="GPU-{gpu}"}} {400_000 * t}\n'
        for t in range(6)
        for gpu in range(2)
    ]
    pages = iter("".join(lines[2 * t : 2 * t + 2]) for t in range(6))
    engine.metrics = lambda: next(pages)  # type: ignore[method-assign]
    with serving(engine):
        client = Client(address_of(engine.url, "calibrate", "--power"), "", lambda: 0.0)
        found = drawn(dcgm_sensors(client, "/metrics", lambda: float(next(times))))
    assert found.mean_w == pytest.approx(800.0), "the counters' 400 J a second of each of two GPUs"
    assert found.source == "DCGM exporter, energy counter, 2 devices, scope: GPU"


def test_an_exporter_that_is_away_leaves_watts_missing() -> None:
    engine = Engine()
    engine.server_close()
    client = Client(address_of(engine.url, "calibrate", "--power"), "", lambda: 0.0)
    for source in (dcgm_sensors, redfish_sensors):
        found = drawn(source(client, "/metrics", lambda: 0.0))
        assert found.mean_w is None
        assert found.notes


def test_redfish_resources() -> None:
    assert redfish_watts(b'{"PowerWatts": {"Reading": 812.5}}') == 812.5
    assert redfish_watts(b'{"PowerControl": [{"PowerConsumedWatts": 640}]}') == 640.0
    for content in (b"", b"[]", b'{"PowerWatts": {"Reading": null}}', b'{"PowerWatts": 5}', b'{"PowerControl": []}'):
        assert redfish_watts(content) is None


def test_a_file_of_watts_follows_the_clock_on_the_wall_as_it_was_before_the_cell() -> None:
    text = "time,watts\n" + "".join(f"{1000 + t},{100 + t}\n" for t in range(20)) + "1020,\nnan,5\n"
    power = WattsFile(lambda: text, lambda: 1000.0, lambda: 0.0, "watts.csv")
    found = drawn(power, 5.0, 9.0)
    assert (found.mean_w, found.energy_j) == (107.0, 428.0)
    assert drawn(power, 50.0, 60.0).mean_w is None
    assert len(watts_of(text)) == 20


def test_no_source_is_missing_not_zero() -> None:
    assert drawn(NO_POWER) == Drawn(None, None, None, ())


@pytest.mark.parametrize("devices", ["2", "0,x", "²", 5000 * "1"], ids=lambda devices: devices[:5])
def test_gpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch, devices: str) -> None:
    driver = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 2, NVMLError=RuntimeError)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    with pytest.raises(UserError, match="allowed: numbers below 2"):
        open_power(f"nvml:{devices}", {}, lambda: 0.0)
