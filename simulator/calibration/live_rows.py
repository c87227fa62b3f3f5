"""Measured times as observations of the law: which clock they are taken from, which cells are left out and why. Inputs are rows and plays.

First choice are the server's own clocks, as sums and counts over a cell or request by request; the client's clocks are the last. A cell
whose requests were timed one by one gives the median of measured over played times, so that a single stall says nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from simulator.calibration.cell import CellRow, RequestRow
from simulator.calibration.live_law import Observation
from simulator.calibration.live_play import CellPlay, Floats, Played

SERVER_SUMS, SERVER_REQUESTS, CLIENT = "server metrics", "server timings", "client clocks"
CLOCKS = (SERVER_SUMS, SERVER_REQUESTS, CLIENT)
"""Where times come from, best first."""


@dataclass(frozen=True)
class Excluded:
    """A cell, or a quantity of one, that nothing is fitted to, and why."""

    cell: str
    why: str


def experiment_of(cell: CellRow) -> str:
    """What repetitions of one experiment share."""
    return cell.cell.rpartition(" #")[0] or cell.cell


def why_not(cell: CellRow, rows: Sequence[RequestRow]) -> str:
    """Why nothing of a cell is used; empty for a good one."""
    if not rows:
        return "no request of it is in the file"
    if cell.failed:
        return f"{cell.failed} of {cell.requests} requests failed"
    wrong = [row for row in rows if row.output_tokens is not None and row.output_tokens != row.asked_output_tokens]
    if wrong:
        return f"{len(wrong)} requests gave another number of tokens than was asked for"
    long = [row for row in rows if row.prompt_tokens is not None and abs(row.prompt_tokens - row.asked_prompt_tokens) > _frame(row)]
    return f"{len(long)} prompts were counted at another length than was sent" if long else ""


def _frame(row: RequestRow) -> float:
    """Tokens by which a server's count may differ: what frames a prompt, and words that are not one token each."""
    return 16 + 0.02 * row.asked_prompt_tokens


def clock_of(cell: CellRow, rows: Sequence[RequestRow], quantity: str) -> str:
    """Where the time of a quantity comes from in a cell."""
    expected = len(rows)
    if cell.metrics.get(f"{quantity}_count") == expected and cell.metrics.get(f"{quantity}_s", 0) > 0:
        return SERVER_SUMS
    name = f"server_{quantity}_s"
    return SERVER_REQUESTS if rows and all(getattr(row, name) is not None for row in rows) else CLIENT


def observations(
    cells: Iterable[CellRow], rows: Mapping[str, Sequence[RequestRow]], plays: Mapping[str, CellPlay], values: Mapping[str, Floats]
) -> tuple[list[Observation], list[Excluded]]:
    """What cells say of the law. Of a batch of short prompts, chance says which share the first step: no prefill.

    Parameters
    ----------
    cells, rows
        Cells, and requests by cell.
    plays : mapping of str to CellPlay
        Cells as the law so far plays them.
    values : mapping of str to float64 array, shape (steps,)
        Seconds of each step of a play by the law so far.
    """
    found: list[Observation] = []
    excluded = []
    for cell in cells:
        own = rows.get(cell.cell, ())
        if why := why_not(cell, own):
            excluded.append(Excluded(cell.cell, why))
            continue
        for quantity in ("prefill", "decode") if cell.kind != "decode" or cell.lanes == 1 else ("decode",):
            one = observe(cell, own, plays[cell.cell], values[cell.cell], quantity)
            if isinstance(one, str):
                excluded.append(Excluded(cell.cell, f"{quantity}: {one}"))
            elif one is not None:
                found.append(one)
    return found, excluded


def observe(cell: CellRow, rows: Sequence[RequestRow], play: CellPlay, step_s: Floats, quantity: str) -> Observation | str | None:
    """One quantity of a cell; None where it has none, words where it cannot be used."""
    clock = clock_of(cell, rows, quantity)
    place, kind = experiment_of(cell), cell.kind
    if clock == SERVER_SUMS:
        seconds = cell.metrics[f"{quantity}_s"] / len(rows)
        weights = sum((_weights(play, played, quantity, clock) for played in play.requests.values()), np.zeros(len(step_s))) / len(rows)
        return Observation(place, cell.cell, kind, quantity, seconds, play.steps, weights, 0.0) if weights.any() else None
    picked = [(row, play.requests[row.session, row.turn]) for row in rows if row.measured]
    if quantity == "decode":
        picked = [(row, played) for row, played in picked if played.output_tokens > 1]
        if not picked:
            return None
    every = [(_seconds(row, quantity, clock), played) for row, played in picked]
    timed = [(seconds, played) for seconds, played in every if seconds is not None and seconds > 0]
    if 2 * len(timed) < len(picked) or not timed:
        return "tokens came in bursts, and the server has no clock of its own"
    each = [_weights(play, played, quantity, clock) for _, played in timed]
    requests = 1.0 if quantity == "prefill" and clock == CLIENT else 0.0
    ratio = median(one / max(float(weights @ step_s), 1e-9) for (one, _), weights in zip(timed, each, strict=True))
    mean = np.mean(each, axis=0)
    if not mean @ step_s > 0:
        return "played with the law so far it takes no time"
    name = "ttft" if requests else quantity
    return Observation(place, cell.cell, kind, name, float(ratio * (mean @ step_s)), play.steps, mean, requests)


def _seconds(row: RequestRow, quantity: str, clock: str) -> float | None:
    if clock == SERVER_REQUESTS:
        return row.server_prefill_s if quantity == "prefill" else row.server_decode_s
    if quantity == "prefill":
        return None if row.coalesced and row.asked_output_tokens > 1 else row.ttft_s
    return None if row.tpot_s is None else row.tpot_s * (row.asked_output_tokens - 1)


def _weights(play: CellPlay, played: Played, quantity: str, clock: str) -> Floats:
    """How much each step of a play counts in one request's time."""
    weights = np.zeros(len(play.steps))
    weights[played.prefill if quantity == "prefill" else played.decode] = 1.0
    if quantity == "prefill" and clock == CLIENT:
        weights[played.wait] = 1.0
        weights[played.wait.start : played.wait.start + 1] = played.wait_share if played.wait.start < played.wait.stop else 1.0
    return weights
