"""What `calibrate --from` does: laws out of runs that somebody has made already. Inputs are their files, and what is told of the engine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.cell import Endpoint
    from simulator.calibration.live_check import Check
    from simulator.cli.live_fit import Cards

TOLD = ("max_context_tokens", "max_seqs", "block_tokens", "kv_blocks", "token_budget")
"""What can be told of the engine, as numbers."""
MOST_DIGITS = 12


def calibrate_from(files: Sequence[Path], out: Path, model: str | None, told: Sequence[str], cards: Cards) -> Check:
    """Reads, fits, checks and writes as `calibrate` does, without asking anybody.

    Raises
    ------
    UserError
        When a file or what is told is bad, or too little of them can be used.
    """
    from dataclasses import replace

    from simulator.calibration.live_overlay import playing
    from simulator.calibration.past_cells import past_cells
    from simulator.calibration.past_check import check_held
    from simulator.calibration.past_fit import fit_past, missing
    from simulator.calibration.past_run import read_past_run
    from simulator.cli.files import refuse_places
    from simulator.cli.live_fit import publish
    from simulator.cli.provenance import provenance_of_rows
    from simulator.cli.run_folder import RunFolder
    from simulator.cli.screen import progress, say, tell_first_compile
    from simulator.errors import Mistake, UserError

    if RunFolder(out).used:
        raise UserError(Mistake("calibrate", "--out", f"{out}, which has a live run in it", "another folder"))
    refuse_places(out / "overlay.yaml", out / "report.html")
    limits = told_limits(told)
    runs = [read_past_run(file) for file in files]
    names = {run.model for run in runs if run.model}
    if model is None and len(names) > 1:
        raise UserError(Mistake("calibrate", "--from", f"models {', '.join(sorted(names))}", "runs of one model"))
    endpoint = told_endpoint(model or next(iter(names), files[0].name.partition(".")[0]), limits)
    endpoint = replace(endpoint, notes=tuple(missing(runs, endpoint)))
    for note in endpoint.notes:
        say(f"note: {note}")
    with progress() as tell:
        tell_first_compile(tell)
        tell("fitting")
        past = past_cells(runs)
        fit = fit_past(runs, past, endpoint)
        tell("simulating what was held out")
        found = check_held(fit, playing(fit.measured), past)
    about = {"files": ", ".join(run.name for run in runs), "requests": f"{sum(len(run.requests) for run in runs)}"}
    words = [word for file in files for word in ("--from", str(file))] + [word for pair in told for word in ("--told", pair)]
    command = shlex.join(["agentwatt", "calibrate", *words, "--out", str(out)])
    publish(out, fit, found, about, cards, provenance_of_rows("runs", endpoint.model, command, endpoint, runs))
    return found


def told_limits(told: Sequence[str]) -> dict[str, int | str]:
    """``KEY=VALUE`` words as fields of an endpoint; ``engine`` names its dialect."""
    from simulator.calibration.live_overlay import ENGINES
    from simulator.errors import Mistake, UserError
    from simulator.units import whole_number

    found: dict[str, int | str] = {}
    for word in told:
        key, _, value = word.partition("=")
        if key == "engine" and value in ENGINES:
            found["dialect"] = value
        elif key in TOLD and (number := whole_number(value, MOST_DIGITS)):
            found[key] = number
        else:
            allowed = f"engine={'|'.join(ENGINES)}, or one of {', '.join(TOLD)} with a whole number above 0"
            raise UserError(Mistake("calibrate", "--told", repr(word), allowed))
    return found


def told_endpoint(model: str, limits: dict[str, int | str]) -> Endpoint:
    """An endpoint of which nothing is known but what was told."""
    from simulator.calibration.cell import Endpoint

    none = dict.fromkeys(TOLD)
    flags = dict.fromkeys(("token_ids", "ignore_eos", "min_tokens", "stream_usage", "cached_tokens"), False)
    return Endpoint(**{  # type: ignore[arg-type]
        "url": "", "model": model, "dialect": "none", "version": None, "vocabulary": 0, **flags, **none, **limits,
        "facts": {"told_by": "as whoever calibrated told"},
    })  # fmt: skip
