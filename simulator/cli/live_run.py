"""A run on a live endpoint as a command makes it: survey, plan, question, cells with progress, its end. Input is what was asked."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
    from simulator.cli.run_folder import RunFolder
    from simulator.probe.client import Client
    from simulator.probe.power import Power
    from simulator.probe.run import Clock, End, Rows

BAR = 24
MOST_REASONS = 3
"""Reasons of failed requests that are told, the most frequent ones."""


class Expected(NamedTuple):
    """What a plan will take, as far as is known before it starts."""

    seconds: float
    cells: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Planned:
    """A plan for an endpoint: the next cells by the rows so far, and what they will take; ``adapts`` where rows change what follows."""

    next_cells: Callable[[Sequence[CellRow], Sequence[RequestRow]], Sequence[Cell]]
    expected: Expected
    adapts: bool = True


@dataclass(frozen=True)
class RunOptions:
    """What a command was asked: the options of `calibrate` and `drift` that concern the run."""

    command: str
    url: str
    model: str | None
    out: Path
    budget_s: float
    resume: bool = False
    power: str | None = None
    plan_only: bool = False
    yes: bool = False
    key_file: Path | None = None
    timeout_s: float = 120.0
    also: tuple[str, ...] = ()
    """Further words of the command."""

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        words = ["agentwatt", self.command, self.url, *self.also, "--budget", f"{self.budget_s:g}s", "--out", str(self.out), "--resume"]
        return shlex.join(words)


MakePlan = Callable[["Endpoint", float], Planned]


def play_live(asked: RunOptions, make_plan: MakePlan) -> tuple[Endpoint, Rows] | None:
    """Runs it; the endpoint and its rows, or None when only the plan was wanted or the answer to the question was no.

    Raises
    ------
    UserError
        When what was asked cannot be done.
    typer.Exit
        When the endpoint was lost in mid-run.
    """
    import asyncio
    import os

    from simulator.cli.api_key import read_key
    from simulator.cli.exit_codes import ExitCode
    from simulator.cli.run_folder import RunFolder
    from simulator.cli.screen import say
    from simulator.errors import Mistake, UserError
    from simulator.probe.client import Client, Unreachable
    from simulator.probe.power_source import open_power
    from simulator.probe.run import Clock, Rows
    from simulator.wire.address import address_of

    address = address_of(asked.url, asked.command, "URL")
    folder = RunFolder(asked.out)
    _refuse(asked, folder)
    rows = folder.rows() if asked.resume else Rows()
    key = read_key(asked.key_file, os.environ, asked.command)
    if key and address.scheme == "http" and not address.local:
        say(f"{address.host} is asked over http: the key travels unencrypted")
    clock = Clock(max((row.end_s for row in rows.cells), default=0.0))
    client, power = Client(address, key, clock, asked.timeout_s), open_power(asked.power, os.environ, clock)
    try:
        found, end = asyncio.run(_live(asked, make_plan, client, power, clock, folder, rows))
    except Unreachable as error:
        raise UserError(Mistake(asked.command, "URL", str(error), "an endpoint that answers")) from None
    except (KeyboardInterrupt, UserError):
        _tell_kept(asked, rows)
        raise
    if end is None:
        return None
    if end.lost:
        say(end.lost)
        _tell_kept(asked, rows)
        raise typer.Exit(ExitCode.ENDPOINT_LOST)
    if not end.done:
        within = f", in the cell {end.cut!r}, which did not end: its answers were slow or never came" if end.cut else ""
        say(f"the budget is spent before the plan is done{within}; with a larger --budget it goes on: {asked.again}")
    return found, rows


def _refuse(asked: RunOptions, folder: RunFolder) -> None:
    """What cannot be done, before anybody is asked anything."""
    import sys

    from simulator.cli.files import refuse_places
    from simulator.errors import Mistake, UserError

    if not asked.plan_only:
        refuse_places(*folder.files)
    if folder.used and not asked.resume and not asked.plan_only:
        raise UserError(Mistake(asked.command, "--out", f"{asked.out}, which has a run in it", "a new folder", "--resume goes on with it"))
    if asked.resume and not folder.used:
        raise UserError(Mistake(asked.command, "--resume", f"{asked.out}, which has no run in it", "the folder of a run"))
    if not (asked.yes or asked.plan_only or sys.stdin.isatty()):
        raise UserError(Mistake(asked.command, "--yes", "nobody to ask whether to go on", "--yes, or --plan to see what it would ask"))


async def _live(
    asked: RunOptions, make_plan: MakePlan, client: Client, power: Power, clock: Clock, folder: RunFolder, rows: Rows
) -> tuple[Endpoint, End | None]:
    """Survey, plan and run."""
    import json
    import secrets
    import time
    from collections import Counter
    from dataclasses import replace

    from simulator.cli.screen import progress, say
    from simulator.probe.execute import Setting
    from simulator.probe.metrics import Metrics, dialect_named
    from simulator.probe.prompts import Prompts
    from simulator.probe.run import run
    from simulator.probe.survey import survey

    salt = secrets.randbits(62)
    try:
        endpoint = await survey(client, asked.model, salt + 1)
        endpoint = replace(endpoint, facts=endpoint.facts | {"power": asked.power is not None})
        if asked.resume:
            _refuse_another(asked, endpoint, folder.endpoint())
        planned = make_plan(endpoint, asked.budget_s)
        _show(endpoint, planned, asked)
        if asked.plan_only or not (asked.yes or typer.confirm("go on?", err=True)):
            return endpoint, None
        folder.epoch_s = time.time() - clock()
        folder.begin(endpoint, json.dumps({"budget_s": asked.budget_s, **planned.expected._asdict()}, indent=2) + "\n", rows)
        dialect = dialect_named(endpoint.dialect)
        metrics = Metrics(client, str(endpoint.facts["metrics_path"]), dialect) if dialect else None
        setting = Setting(endpoint, client, clock, Prompts(endpoint, salt), metrics, power)
        with progress() as tell:

            def show(cell: Cell) -> None:
                tell(progress_line(len(rows.cells), clock(), planned.expected.seconds, cell.id))

            end = await run(setting, planned.next_cells, asked.budget_s, rows, folder.keep, show)
        failed = sum(row.failed for row in rows.cells)
        say(f"{len(rows.cells)} cells, {len(rows.requests)} requests, {failed} of them failed; rows are in {asked.out}")
        for reason, count in Counter(row.error for row in rows.requests if row.error).most_common(MOST_REASONS):
            say(f"failed: {count} x {reason}")
        for note in dict.fromkeys(note for row in rows.cells for note in row.notes):
            say(f"note: {note}")
        return endpoint, end
    finally:
        client.close()
        power.close()


def _refuse_another(asked: RunOptions, now: Endpoint, before: Endpoint) -> None:
    """A run goes on with the endpoint that it began with."""
    from simulator.errors import Mistake, UserError

    for name in ("url", "model", "dialect", "version"):
        if getattr(now, name) != getattr(before, name):
            found, allowed = f"{name} {getattr(now, name)}", f"{getattr(before, name)}, as the run in {asked.out} began"
            raise UserError(Mistake(asked.command, "--resume", found, allowed))


def _show(endpoint: Endpoint, planned: Planned, asked: RunOptions) -> None:
    """What the endpoint is, what it lacks, and what will be asked: before anything costs much."""
    from simulator.cli.screen import say, show_sheets
    from simulator.report.live_tables import endpoint_sheet

    if asked.plan_only:
        show_sheets([endpoint_sheet(endpoint)])
    else:
        say(f"{endpoint.model} at {endpoint.url}: {endpoint.dialect} {endpoint.version or ''}".rstrip())
        for note in endpoint.notes:
            say(f"note: {note}")
    expected = planned.expected
    tokens = f"{expected.prompt_tokens:,} prompt tokens and {expected.output_tokens:,} output tokens"
    time = f"{expected.seconds / 60:.1f} min" if expected.seconds >= 60 else f"{expected.seconds:.0f} s"
    later = "; later phases follow what earlier ones show" if planned.adapts else ""
    say(f"plan: about {expected.cells} cells, {time}, {tokens}{later}")


def progress_line(cells: int, elapsed_s: float, expected_s: float, name: str) -> str:
    """A bar by time, and how long it will still take."""
    share = min(1.0, elapsed_s / expected_s) if expected_s > 0 else 1.0
    bar = "#" * round(BAR * share) + "-" * (BAR - round(BAR * share))
    left_s = max(0.0, expected_s - elapsed_s)
    return f"[{bar}] {100 * share:3.0f} %, {cells} cells, {elapsed_s / 60:.1f} min, about {left_s / 60:.1f} min left: {name}"


def _tell_kept(asked: RunOptions, rows: Rows) -> None:
    from simulator.cli.screen import say

    if rows.cells:
        empty = sum(row.failed == row.requests for row in rows.cells)
        none = f", {empty} of them without a good request" if empty else ""
        say(f"finished cells kept in {asked.out}: {len(rows.cells)}{none}; to go on: {asked.again}")
