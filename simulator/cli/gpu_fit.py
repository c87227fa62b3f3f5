"""What `agentwatt measure-gpu --fit` does: an evidence file becomes tables, a profile and a page. Inputs are files and a system's name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.gpu_evidence import Evidence
    from simulator.calibration.gpu_fit import Share
    from simulator.calibration.gpu_fit_power import GpuPowerFit
    from simulator.hardware.system import System
    from simulator.report.tables import Sheet


def read_evidence(path: Path) -> Evidence:
    """An evidence file. Raises `UserError` when it cannot be read."""
    from simulator.calibration.evidence import open_text
    from simulator.calibration.gpu_evidence import parse_evidence
    from simulator.errors import Mistake, UserError

    try:
        return parse_evidence(open_text(path).read(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Mistake(str(path), "", "a file that cannot be read", "an evidence file", str(error))) from error


def fit_evidence(file: Path, name: str, profile: Path | None, html: Path | None) -> None:
    """Fit an evidence file: tables on stdout, profile and page where asked for. Without watts the times are fitted all the same."""
    from simulator.calibration.gpu_fit import fit_times, gemm_shares
    from simulator.calibration.gpu_fit_power import fit_gpu_power, strangers
    from simulator.cli.files import refuse_places
    from simulator.cli.screen import progress, say, show_sheets
    from simulator.errors import UserError
    from simulator.hardware.load import load_system
    from simulator.report import gpu_tables as tables

    refuse_places(profile, html)
    found, system = read_evidence(file), load_system(name)
    _refuse_dry_run(found, file)
    for line in (*strangers(found.about, system), *_lost(found)):
        say(line)
    power = None
    with progress() as tell:
        tell("fitting")
        times, shares = fit_times(found.rows, system), gemm_shares(found.rows, system)
        try:
            power = fit_gpu_power(found.rows, system, str(file))
        except UserError as error:
            if not times:
                raise
            tell(f"no power law: {error}")
    sheets = [
        tables.singles_sheet(found.rows),
        *([tables.shares_sheet(shares)] if shares else []),
        *([tables.terms_sheet(times, system.name)] if times else []),
        *(_power_sheets(power, system) if power else []),
    ]
    show_sheets(sheets)
    if profile is not None:
        _write_profile(profile, found, system, power)
    if html is not None:
        _write_page(html, file, found, system, sheets, shares, power)


def _power_sheets(power: GpuPowerFit, system: System) -> list[Sheet]:
    from simulator.calibration.gpu_fit_power import beside
    from simulator.calibration.power_rows import power_models, power_rows
    from simulator.report import gpu_tables as tables

    rows = beside(power_rows(), power_models(), system, power)
    return [tables.law_sheet(power, system), tables.points_sheet(power), *([tables.evidence_sheet(rows, system.name)] if rows else [])]


def _write_profile(path: Path, found: Evidence, system: System, power: GpuPowerFit | None) -> None:
    """The profile, once it is a good one: a fit of nonsense can leave the range of a field."""
    import yaml

    from simulator.calibration.gpu_overlay import overlay_text
    from simulator.cli.files import write_text
    from simulator.cli.screen import say
    from simulator.hardware.load import load_system

    text = overlay_text(system, found.about, found.rows, power)
    load_system(yaml.safe_load(text))
    write_text(path, text)
    say(f"written: {path}; try it: agentwatt profiles check {path}")


def _write_page(
    path: Path, file: Path, found: Evidence, system: System, sheets: list[Sheet], shares: list[Share], power: GpuPowerFit | None
) -> None:
    from simulator.cli.files import write_text
    from simulator.cli.provenance import provenance_of_rows
    from simulator.cli.screen import say
    from simulator.report.gpu_figures import gemm_drawing, power_drawing
    from simulator.report.gpu_page import render_gpu

    drawings = [*([power_drawing(power, system.tdp_w)] if power else []), *([gemm_drawing(shares)] if shares else [])]
    command = shlex.join(["agentwatt", "measure-gpu", "--fit", str(file), "--system", system.name, "--html", str(path)])
    made = provenance_of_rows("rows", file.name, command, found.rows, system)
    write_text(path, render_gpu(found.about, sheets, drawings, made))
    say(f"written: {path}")


def _refuse_dry_run(found: Evidence, file: Path) -> None:
    from simulator.errors import Mistake, UserError

    if found.about.get("dry_run") != "no":
        raise UserError(Mistake(str(file), "dry_run", repr(found.about.get("dry_run", "nothing")), "'no'", "a dry run measures nothing"))


def _lost(found: Evidence) -> list[str]:
    """What of a file serves no fit, in words."""
    failed = sum(row.status != "ok" for row in found.rows)
    bare = sum(row.status == "ok" and row.watts is None for row in found.rows)
    said = {f"{failed} visits failed": failed, f"{bare} visits are without watts": bare, f"{found.doubles} rows came twice": found.doubles}
    return [line for line, count in said.items() if count]
