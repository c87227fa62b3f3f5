"""The commands of the panel *Reality*: measurements of real machines, and what they make of a profile. Inputs are machines and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.calibration.gpu_evidence import Evidence
    from simulator.calibration.gpu_meter import Meter
    from simulator.calibration.gpu_plan import Plan

MODELS = ("deepseek_v4_pro", "deepseek_r1", "gpt_oss_120b")
"""Model cards whose layers are measured."""

Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Evidence file; what it holds already is not measured again.")]
Budget = Annotated[str, typer.Option("--budget", metavar="TIME", help="How long it may take: 10m, 600s. Trims the plan.")]
Model = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Model card to take layer shapes from; may be repeated.", show_default=False),
]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Show the plan and its expected time, and leave.")]
Fit = Annotated[Path | None, typer.Option("--fit", metavar="FILE", help="Measure nothing: fit an evidence file.", show_default=False)]
SystemName = Annotated[str, typer.Option("--system", metavar="NAME", help="With --fit: the system whose GPU it is.")]
ProfileOut = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="With --fit: write the system's profile as measured.", show_default=False)
]
HtmlOut = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="With --fit: write the page, with figures.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Try every kernel on the CPU at small sizes: needs torch, measures nothing.")]


def measure_gpu(
    out: Out = Path("gpu_evidence.csv"),
    budget: Budget = "10m",
    plan_only: PlanOnly = False,
    dry_run: DryRun = False,
    model: Model = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=20, help="Visits to every cell.")] = 1,
    device: Annotated[int, typer.Option("--device", min=0, help="Which CUDA device.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the cells' order.")] = 0,
    fit: Fit = None,
    system: SystemName = "hgx_h200",
    profile: ProfileOut = None,
    html: HtmlOut = None,
) -> None:
    """Measure a GPU: times, rates and watts of the kernels that serving is made of; and fit what was measured."""
    if fit is not None:
        from simulator.cli.gpu_fit import fit_evidence

        fit_evidence(fit, system, profile, html)
        return
    from simulator.calibration.gpu_plan import make_plan
    from simulator.calibration.gpu_shapes import shapes
    from simulator.cli.screen import say, show_sheets
    from simulator.hardware.load import load_model
    from simulator.report.gpu_tables import plan_sheet

    budget_s = seconds_of(budget, "measure-gpu")
    plan = make_plan([shapes(load_model(name)) for name in model or MODELS], budget_s, repeats=repeats, seed=seed)
    if plan_only:
        show_sheets([plan_sheet(plan)])
        return
    _refuse_without_torch()
    left_out = f"{len(plan.left_out)} cells left out by --budget {budget}"
    say(f"{len(plan.visits)} visits, expected to take {plan.expected_s / 60:.0f} min; {left_out}")
    found = _measure(plan, out, budget_s, device, dry_run=dry_run)
    _tell_end(found, out)


def _measure(plan: Plan, out: Path, budget_s: float, index: int, *, dry_run: bool) -> Evidence:
    """Run the plan and keep the file up to date; rows that it holds stay."""
    import os

    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # so that the driver and CUDA count GPUs alike
    from simulator.calibration import gpu_run
    from simulator.calibration.gpu_evidence import Evidence, evidence_text, refuse_other_machine
    from simulator.calibration.gpu_small import small_plan
    from simulator.cli.files import refuse_places, write_text
    from simulator.cli.gpu_fit import read_evidence
    from simulator.cli.screen import say
    from simulator.cli.version import version

    refuse_places(out)
    device = "cpu" if dry_run else _cuda(index)
    meter = None if dry_run else _meter(index)
    about = gpu_run.provenance(device, meter, {"agentwatt": version(), "dry_run": "yes" if dry_run else "no"})
    before = read_evidence(out) if out.exists() else Evidence(about, ())
    refuse_other_machine(about, before.about, str(out))
    rows = gpu_run.run(
        small_plan(plan) if dry_run else plan,
        before.rows,
        device=device,
        meter=meter,
        budget_s=budget_s,
        keep=lambda rows: write_text(out, evidence_text(before.about, rows)),
        tell=say,
    )
    return Evidence(before.about, rows)


def _tell_end(found: Evidence, out: Path) -> None:
    from collections import Counter

    from simulator.cli.screen import say

    counts = Counter(row.status for row in found.rows)
    say(f"written: {out}, {len(found.rows)} rows: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if any(row.watts is None for row in found.rows if row.status == "ok"):
        say("some rows are without watts: they serve the fit of times, not that of power")


def _refuse_without_torch() -> None:
    from importlib.util import find_spec

    from simulator.errors import Mistake, UserError

    if find_spec("torch") is None:
        hint = "install the extra: pip install 'agentwatt[gpu]'; --plan works without"
        raise UserError(Mistake("measure-gpu", "torch", "not installed", "PyTorch 2.6 or newer", hint))


def _cuda(index: int) -> str:
    """The device's name in PyTorch, once it is there."""
    import torch

    from simulator.errors import Mistake, UserError

    count = torch.cuda.device_count()
    if index >= count:
        found = f"{index}, where PyTorch {torch.__version__} sees {count} CUDA devices"
        allowed = f"0 to {count - 1}" if count else "a machine with a CUDA GPU"
        hint = "--dry-run tries the kernels on the CPU, --plan shows the plan"
        raise UserError(Mistake("measure-gpu", "--device", found, allowed, hint))
    return f"cuda:{index}"


def _meter(index: int) -> Meter | None:
    """The GPU's sensors, or None with a word on what will be missing."""
    import os
    import time

    from simulator.calibration.gpu_meter import open_meter
    from simulator.cli.screen import say

    try:
        import pynvml
    except ImportError:
        say("nvidia-ml-py is not installed: no watts, clocks or temperatures; install the extra: pip install 'agentwatt[gpu]'")
        return None
    try:
        meter = open_meter(pynvml, index, os.environ.get("CUDA_VISIBLE_DEVICES", ""), time.perf_counter)
    except pynvml.NVMLError as error:
        say(f"the driver's sensors cannot be read ({error}): no watts, clocks or temperatures")
        return None
    if meter.others():
        say(f"{meter.others()} other processes compute on this GPU: what is measured is theirs too")
    return meter


def seconds_of(text: str, command: str) -> float:
    """``10m``, ``600s`` or ``600`` in seconds."""
    from simulator.errors import Mistake, UserError

    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, scale = (text[:-1], unit[text[-1]]) if text[-1:] in unit else (text, 1.0)
    try:
        seconds = float(number) * scale
    except ValueError:
        seconds = -1.0
    if not 60 <= seconds <= 86_400:
        raise UserError(Mistake(command, "--budget", repr(text), "1m to 24h, as 10m, 600s or 1h"))
    return seconds
