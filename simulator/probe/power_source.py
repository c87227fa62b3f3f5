"""Opens a source of watts by the name that people type. Inputs are that name and the environment."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from urllib.parse import urlsplit

from simulator.calibration.gpu_meter import Meter, open_meter
from simulator.errors import Mistake, UserError
from simulator.probe.client import Client
from simulator.probe.power import NO_POWER, Power, WattsFile, dcgm_sensors, nvml_sensors, redfish_sensors
from simulator.wire.address import Address, address_of

ALLOWED = "nvml, nvml:0,1, http://host:9400/metrics (DCGM exporter), https://host/redfish/v1/... (Redfish), a .csv of time and watts"
LOGIN = "AGENTWATT_POWER_LOGIN"
"""Environment variable with ``name:password`` for Redfish; sent to that host only."""
STALL_S = 5.0


def open_power(source: str | None, environment: Mapping[str, str], clock: Callable[[], float]) -> Power:
    """The source of watts; None is none.

    Raises
    ------
    UserError
        When it is no source, or nothing answers.
    """
    if source is None:
        return NO_POWER
    if source == "nvml" or source.startswith("nvml:"):
        return _nvml(source.partition(":")[2], clock)
    if source.startswith(("http://", "https://")):
        parts = urlsplit(source)
        address = address_of(source, "calibrate", "--power")
        path = parts.path or "/metrics"
        host = Address(address.scheme, address.host, address.port, "")
        if "/redfish/" in path:
            login = base64.b64encode(environment.get(LOGIN, "").encode()).decode()
            return redfish_sensors(Client(host, login, clock, STALL_S, scheme="Basic"), path, clock)
        return dcgm_sensors(Client(host, "", clock, STALL_S), path, clock)
    if source.endswith(".csv"):
        file = Path(source)
        if not file.is_file():
            raise UserError(Mistake("calibrate", "--power", f"no file {source}", ALLOWED))
        return WattsFile(lambda: file.read_text("utf-8", "replace"), time, clock, file.name)
    raise UserError(Mistake("calibrate", "--power", repr(source), ALLOWED))


def _nvml(devices: str, clock: Callable[[], float]) -> Power:
    try:
        import pynvml
    except ImportError:
        hint = "install the extra: pip install 'agentwatt[gpu]', or nvidia-ml-py alone"
        raise UserError(Mistake("calibrate", "--power", "nvml, and nvidia-ml-py is not installed", ALLOWED, hint)) from None
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        known = [str(number) for number in range(count)]
        chosen = devices.split(",") if devices else known
        if not chosen or not set(chosen) <= set(known):
            raise UserError(Mistake("calibrate", "--power", f"GPUs {devices or 'none'}", f"numbers below {count}"))
        meters: dict[str, Meter] = {name: open_meter(pynvml, int(name), "", clock) for name in chosen}
    except pynvml.NVMLError as error:
        raise UserError(Mistake("calibrate", "--power", f"nvml, and the driver says: {error}", ALLOWED)) from None
    return nvml_sensors(meters)
