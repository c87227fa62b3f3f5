"""The command `calibrate` of the panel *Reality*: a profile out of an endpoint's answers. Input is an address, or files of past runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.live_fit import cards_of, finish

if TYPE_CHECKING:
    from simulator.calibration.cell import Endpoint
    from simulator.cli.live_run import Planned

Url = Annotated[str, typer.Argument(metavar="URL", help="Base URL of an OpenAI-compatible endpoint.", show_default=False)]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Which of its models, if it has several.", show_default=False)]
Budget = Annotated[str, typer.Option("--budget", metavar="TIME", help="How long it may take: 10m, 600s. Trims the plan.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="S", min=1, help="Seconds that an answer may be silent.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="File with the key; else AGENTWATT_API_KEY or OPENAI_API_KEY.", show_default=False),
]
PowerSource = Annotated[
    str | None,
    typer.Option("--power", metavar="SOURCE", help="Watts from nvml, a DCGM exporter's or a Redfish URL, or a .csv.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the run.")]


def calibrate(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="Base URL of an OpenAI-compatible endpoint; none with --from.", show_default=False)
    ] = None,
    past: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Ask nobody: fit requests of a run of AIPerf, of vllm bench serve, or of a CSV. May be repeated.",
            show_default=False,
        ),
    ] = None,
    told: Annotated[
        list[str] | None,
        typer.Option("--told", metavar="KEY=VALUE", help="With --from: what is known of the engine.", show_default=False),
    ] = None,
    model: Model = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where rows, fit, overlay and report go.")] = Path(
        "calibration"
    ),
    budget: Budget = "10m",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    power: PowerSource = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what it is and what would be asked, and leave.")] = False,
    yes: Yes = False,
    key_file: KeyFile = None,
    timeout_s: Timeout = 120.0,
    system: Annotated[
        str | None, typer.Option("--system", metavar="NAME", help="Card of what it runs on, for watts.", show_default=False)
    ] = None,
    card: Annotated[str | None, typer.Option("--card", metavar="NAME", help="Card of its model, for watts.", show_default=False)] = None,
) -> None:
    """Calibrate against a live endpoint, or from runs of it: survey, plan, run, fit, check on what was held out, report."""
    from simulator.cli.live_run import RunOptions, play_live
    from simulator.cli.past import calibrate_from
    from simulator.cli.reality import seconds_of
    from simulator.errors import Mistake, UserError

    cards = cards_of(system, card)
    if past:
        if url is not None:
            raise UserError(Mistake("calibrate", "--from", f"files, and the address {url}", "one of both"))
        calibrate_from(past, out, model, told or (), cards)
        return
    if url is None or told:
        allowed = "--told with --from; an endpoint is asked" if told else "the URL of an endpoint, or --from with files of its runs"
        raise UserError(Mistake("calibrate", "--told" if told else "URL", "no --from" if told else "nothing", allowed))
    budget_s = seconds_of(budget, "calibrate")
    asked = RunOptions("calibrate", url, model, out, budget_s, resume, power, plan_only, yes, key_file, timeout_s)
    found = play_live(asked, _plan)
    if found is not None:
        endpoint, rows = found
        again = ["agentwatt", "calibrate", endpoint.url, "--budget", budget, "--out", str(out), "--resume"]
        again += [word for option, name in (("--system", system), ("--card", card)) if name for word in (option, name)]
        finish(out, endpoint, rows.cells, rows.requests, cards, shlex.join(again))


def _plan(endpoint: Endpoint, budget_s: float) -> Planned:
    from simulator.calibration.live_plan import expected, next_cells
    from simulator.cli.live_run import Expected, Planned

    found = expected(endpoint, budget_s)
    return Planned(
        lambda cells, requests: next_cells(endpoint, budget_s, cells, requests),
        Expected(found.seconds, found.cells, found.prompt_tokens, found.output_tokens),
    )
