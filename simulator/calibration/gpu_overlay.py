"""The profile that a GPU's evidence makes of a system: YAML that extends the shipped one. Inputs are evidence rows and fits."""

from collections.abc import Mapping, Sequence

from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_fit import single
from simulator.calibration.gpu_fit_power import GpuPowerFit
from simulator.hardware.system import System


def overlay_text(system: System, about: Mapping[str, str], rows: Sequence[Row], power: GpuPowerFit | None) -> str:
    """The overlay as YAML.

    Idle watts and the host link are what sensors and clocks said: `measured`. The power law's coefficients come of a fit to measured cells:
    `fitted`, as the word is used in all profiles.
    """
    gpu, driver, torch, date = (about.get(name, "") for name in ("gpu", "driver", "torch", "date"))
    where = f"agentwatt measure-gpu, {gpu}, driver {driver}, PyTorch {torch}, {date}"
    lines = [f"name: {system.name}_measured", f"title: {_quoted(f'{system.title}, one GPU measured')}", f"extends: {system.name}"]
    idle_w = single(rows, "idle", "allocated", "watts")
    if idle_w is not None:
        lines.append(_field("idle_w", idle_w, "W", f"{where}: idle with memory allocated", "measured"))
    link = host_link_bytes_per_s(rows)
    if link is not None:
        lines.append(_field("host_link_bytes_per_s", link, "bytes/s", f"{where}: pinned copies to the GPU", "measured"))
    if power is not None:
        held = sum(point.held_out for point in power.points)
        fit = f"{where}: {len(power.points) - held} cells; mean error {power.check_error:.1%} of TDP on {held} held out"
        lines += [_field(term.name, term.value, "1", f"{fit}; 5-95 %: {term.low:.3g} to {term.high:.3g}", "fitted") for term in power.terms]
    return "\n".join(lines) + "\n"


def host_link_bytes_per_s(rows: Sequence[Row]) -> float | None:
    """Rate of the largest copy to the GPU; None when it was not measured."""
    seconds, moved = single(rows, "host", "to_gpu", "time_s"), single(rows, "host", "to_gpu", "bytes")
    return moved / seconds if seconds and moved else None


def _field(name: str, value: float, unit: str, source: str, quality: str) -> str:
    number = f"{value:.4g}" if value < 1e6 else f"{value:.3e}"
    return f"{name}: {{value: {number}, unit: {_quoted(unit)}, source: {_quoted(source)}, quality: {quality}}}"


def _quoted(text: str) -> str:
    """As a YAML scalar: text from a file may hold anything."""
    return '"' + "".join(c if c.isprintable() else " " for c in text).replace("\\", "\\\\").replace('"', '\\"') + '"'
