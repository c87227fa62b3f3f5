"""The command ``agentwatt profiles derive``: a deployment whose law is fitted to aiconfigurator's operator tables. Inputs are names."""

from pathlib import Path
from typing import Annotated

import typer


def derive_profile(
    system: Annotated[str, typer.Option("--system", help="A system, by our name or aiconfigurator's (h200_sxm).", show_default=False)],
    model: Annotated[str, typer.Option("--model", help="A model, by our name or its checkpoint's.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write the deployment: .yaml.", show_default=False)],
    engine: Annotated[str, typer.Option("--engine", help="Whose measured tables: vllm, sglang or trtllm.")] = "vllm",
    tp: Annotated[int, typer.Option("--tp", min=1, help="GPUs of the worker under tensor parallelism.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="GPUs of the worker under attention-data parallelism.")] = 1,
    ep: Annotated[int, typer.Option("--ep", min=0, help="Groups of GPUs with different experts; 0: all under --dp, 1 under --tp.")] = 0,
    weights: Annotated[str, typer.Option("--weights", help="How weights are stored: stored, bf16, fp8 or fp4.", show_default=False)] = "",
    estimates: Annotated[bool, typer.Option("--estimates", help="Let aiconfigurator estimate operators it has not measured.")] = False,
    cells: Annotated[Path | None, typer.Option("--cells", metavar="FILE", help="Where to write the sampled cells: .csv.")] = None,
    extends: Annotated[str, typer.Option("--extends", help="A deployment that gives all but layout and law.", show_default=False)] = "",
) -> None:
    """Fit the step-time law to aiconfigurator's measured operator tables and write a deployment (needs the extra 'aic')."""
    from simulator.calibration.aic_derive import Ask, derive
    from simulator.calibration.aic_rows import cells_text
    from simulator.cli.files import refuse_places, write_text
    from simulator.cli.screen import say, show_sheets
    from simulator.report.aic_tables import derived_sheet

    refuse_places(out, cells)
    found = derive(Ask(system, model, engine, tp, dp, ep, weights, estimates, extends))
    write_text(out, found.text)
    if cells is not None:
        write_text(cells, cells_text(found.name, found.cells))
    show_sheets([derived_sheet(found)])
    say(f"written: {out}")
