"""Watts of the accelerators while a cell runs. Inputs are readings by NVML, of a DCGM exporter, by Redfish, or of a file of time and watts.

Readings are taken beside the cell and stamped by the run's clock. A value that a source does not give is missing (None), never 0, and one
device that is missing makes the sum missing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.calibration.gpu_meter import Meter, Reading, mean_watts
from simulator.probe.client import Client, Unreachable
from simulator.probe.prometheus import read_samples

POLL_S = 0.5
DCGM_WATTS, DCGM_JOULES = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
Look = Callable[[], Awaitable[Mapping[str, Reading]]]
"""One reading of each device."""


@dataclass(frozen=True)
class Drawn:
    """Mean draw and energy over a window, and where they come from, with the scope."""

    mean_w: float | None = None
    energy_j: float | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()


class Power:
    """A source of watts; this one has none."""

    async def begin(self) -> None:
        """Before a cell."""

    async def watch(self) -> None:
        """While it runs, until cancelled."""

    async def end(self, start_s: float, end_s: float) -> Drawn:
        """What was drawn between two times of the run's clock."""
        return Drawn()

    def close(self) -> None:
        """Hangs up, where there is a connection."""


NO_POWER = Power()


class Sensors(Power):
    """Devices that are read again and again.

    Parameters
    ----------
    look : callable
        Reads each device once.
    name, scope : str
        Of the source, and what its watts cover.
    stale : bool
        Whether readings may be old: then only what comes after the first change counts.
    client : Client or None
        Where they come from, to be closed.
    """

    def __init__(self, look: Look, name: str, scope: str, stale: bool = False, client: Client | None = None) -> None:
        self.look, self.name, self.scope, self.stale, self.client = look, name, scope, stale, client
        self.readings: list[Mapping[str, Reading]] = []

    async def begin(self) -> None:
        self.readings = []
        await self._take()

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._take()

    async def end(self, start_s: float, end_s: float) -> Drawn:
        await self._take()
        names = {name for seen in self.readings for name in seen}
        devices = [[seen[name] for seen in self.readings if name in seen] for name in sorted(names)]
        means = [mean_watts(_fresh(readings) if self.stale else readings) for readings in devices]
        watts = [mean.mean_w for mean in means if mean.mean_w is not None]
        if not means or len(watts) < len(means):
            return Drawn(notes=(f"no watts from {self.name}: {len(watts)} of {len(means)} devices gave enough readings",))
        how = " and ".join(sorted({mean.how for mean in means}))
        return Drawn(sum(watts), sum(watts) * (end_s - start_s), f"{self.name}, {how}, {len(watts)} devices, scope: {self.scope}")

    def close(self) -> None:
        if self.client is not None:
            self.client.close()

    async def _take(self) -> None:
        try:
            self.readings.append(await self.look())
        except Unreachable:
            self.readings.append({})


def _fresh(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Readings from the first change on; none where nothing changed."""
    first = readings[0] if readings else None
    for place, reading in enumerate(readings):
        if first is not None and (reading.power_w, reading.energy_j) != (first.power_w, first.energy_j):
            return readings[place:]
    return ()


def nvml_sensors(meters: Mapping[str, Meter]) -> Sensors:
    """GPUs of this machine by the driver; read in a thread, so that stamping goes on."""

    async def look() -> Mapping[str, Reading]:
        return await asyncio.to_thread(lambda: {name: meter.energy() for name, meter in meters.items()})

    return Sensors(look, "NVML", "GPU")


def dcgm_sensors(client: Client, path: str, clock: Callable[[], float]) -> Sensors:
    """GPUs by the page of a DCGM exporter, which renews its values every so many seconds only."""

    async def look() -> Mapping[str, Reading]:
        exchange = await client.get(path)
        found: dict[str, dict[str, float]] = {}
        if exchange.status == 200 and exchange.error is None:
            for sample in read_samples(exchange.content.decode("utf-8", "replace"), (DCGM_WATTS, DCGM_JOULES)):
                device = sample.labels.get("UUID") or sample.labels.get("gpu", "")
                found.setdefault(device, {})[sample.name] = sample.value
        now_s = clock()
        return {name: Reading(now_s, _milli(values.get(DCGM_JOULES)), values.get(DCGM_WATTS)) for name, values in found.items()}

    return Sensors(look, "DCGM exporter", "GPU", stale=True, client=client)


def redfish_sensors(client: Client, path: str, clock: Callable[[], float]) -> Sensors:
    """A chassis by its management controller."""

    async def look() -> Mapping[str, Reading]:
        exchange = await client.get(path)
        watts = redfish_watts(exchange.content) if exchange.status == 200 and exchange.error is None else None
        return {} if watts is None else {path: Reading(clock(), None, watts)}

    return Sensors(look, "Redfish", "what the resource covers", stale=True, client=client)


def redfish_watts(content: bytes) -> float | None:
    """The reading of an ``EnvironmentMetrics`` resource, or of an older ``Power`` resource."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    found = found if isinstance(found, dict) else {}
    control = found.get("PowerControl")
    older = control[0].get("PowerConsumedWatts") if isinstance(control, list) and control and isinstance(control[0], dict) else None
    newer = found.get("PowerWatts")
    return _number(newer.get("Reading") if isinstance(newer, dict) else older)


class WattsFile(Power):
    """A CSV of ``time`` (seconds since 1970) and ``watts`` that something else keeps writing on this machine's clock.

    Parameters
    ----------
    read : callable
        The text of the file as it is now.
    wall, clock : callable
        Seconds since 1970, and of the run: compared before each cell.
    name : str
        Of the file.
    """

    def __init__(self, read: Callable[[], str], wall: Callable[[], float], clock: Callable[[], float], name: str) -> None:
        self.read, self.wall, self.clock, self.name = read, wall, clock, name
        self.ahead_s = 0.0

    async def begin(self) -> None:
        self.ahead_s = self.wall() - self.clock()

    async def end(self, start_s: float, end_s: float) -> Drawn:
        first, last = start_s + self.ahead_s, end_s + self.ahead_s
        watts = [watts for at_s, watts in watts_of(self.read()) if first <= at_s <= last]
        if len(watts) < 2:
            return Drawn(notes=(f"no watts from {self.name}: {len(watts)} lines fall into the cell",))
        mean_w = sum(watts) / len(watts)
        return Drawn(mean_w, mean_w * (end_s - start_s), f"{self.name}, {len(watts)} samples, scope: as the file's writer says")


def watts_of(text: str) -> list[tuple[float, float]]:
    """Time and watts, line by line; the header and lines without two numbers are passed over."""
    found = []
    for line in text.splitlines():
        parts = line.split(",")
        try:
            found.append((float(parts[0]), float(parts[1])))
        except (ValueError, IndexError):
            continue
    return [(at_s, watts) for at_s, watts in found if at_s == at_s and watts >= 0]


def _milli(value: float | None) -> float | None:
    return None if value is None else value / 1e3


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
