"""The fit of a calibration: rows of an endpoint in, its engine's traits, its law with intervals, and errors by phase out.

Cells are played with the law so far, their measured times give a better law, and so on: three rounds settle it. Traits come first, for
which steps there are depends on them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
from simulator.calibration.live_cells import cells_as_sent
from simulator.calibration.live_law import FORMS, Coefficient, Form, LawFit, Observation, fit_law, intervals
from simulator.calibration.live_overlay import Measured, Playing, playing
from simulator.calibration.live_pace import STEADY, Pace, pace_of
from simulator.calibration.live_play import CellPlay, Floats, play
from simulator.calibration.live_rows import CLIENT, Excluded, clock_of, observations
from simulator.calibration.live_traits import Trait, by_cell, traits
from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import LawCoefficients

FITTED_TO = ("floor", "prefill", "decode", "context", "mixed")
"""Kinds of cells that the law is fitted to; prefix cells and the replay are predicted."""

FITTED_ELSE = ("saturation", "replay")
"""What it is fitted to when there are no others, as in files of runs that people have."""

ROUNDS = 3
FEWEST = 4
"""Observations below which there is no fit."""

LARGE = 0.34
"""Share of the experiments of a kind, the largest ones, that the check of extrapolation leaves out."""


@dataclass(frozen=True)
class PhaseError:
    """Errors of one kind of cells under one kind of prediction, relative and signed where said so."""

    how: str
    kind: str
    quantity: str
    count: int
    median: float
    worst: float
    bias: float


@dataclass(frozen=True)
class Fit:
    """All that a calibration found.

    Attributes
    ----------
    endpoint : Endpoint
    traits : dict of str to Trait
    law : LawFit
    coefficients : tuple of Coefficient
    measured : Measured
        Law and traits as a deployment takes them.
    errors : tuple of PhaseError
    noise : float
        Median absolute deviation of repetitions from their experiment's median, relative: nothing is predicted better.
    pace : Pace or None
        How the endpoint's speed changed during the run: measured times were divided by it. None where too few cells tell.
    clocks : dict of str to str
        Quantity -> the worst clock that an observation of it comes from.
    excluded : tuple of Excluded
    """

    endpoint: Endpoint
    traits: dict[str, Trait]
    law: LawFit
    coefficients: tuple[Coefficient, ...]
    measured: Measured
    errors: tuple[PhaseError, ...]
    noise: float
    pace: Pace | None
    clocks: dict[str, str]
    excluded: tuple[Excluded, ...]


def fit_rows(
    endpoint: Endpoint,
    cells: Sequence[CellRow],
    requests: Iterable[RequestRow],
    seed: int = 0,
    made: Mapping[str, Cell] | None = None,
) -> Fit:
    """Fits the rows of a calibration.

    Parameters
    ----------
    endpoint, cells, requests
        What was measured.
    seed : int
        Of the draws for intervals.
    made : mapping of str to Cell, optional
        What rows asked, by their cell; by default made again from their parameters, with the pauses that the client made.

    Raises
    ------
    UserError
        When too few cells are usable.
    """
    rows = by_cell(requests)
    flat = [row for own in rows.values() for row in own]
    usable = [cell for cell in cells if cell.kind in FITTED_TO] or [cell for cell in cells if cell.kind in FITTED_ELSE]
    made = cells_as_sent(cells, rows) if made is None else made
    measured = first_guess(endpoint, cells, rows, {})
    drifting = [cell for cell in cells if cell.kind == "drift"]
    told: Pace | None = None
    law: LawFit | None = None
    for number in range(ROUNDS):
        found = traits(endpoint, cells, flat, measured.law.floor_s)
        measured = with_traits(measured, found, endpoint, cells)
        seen, excluded = observe_cells(playing(measured), usable, rows, made)
        told = pace_of([*seen, *observe_cells(playing(measured), drifting, rows, made)[0]], {cell.cell: cell for cell in cells})
        pace = told or STEADY
        seen = at_pace(seen, usable, pace)
        if len(seen) < FEWEST:
            raise UserError(Mistake("calibration", "cells", f"{len(seen)} usable times", f"at least {FEWEST}", _why(excluded)))
        forms: Sequence[Form] = FORMS if number == ROUNDS - 2 else (FORMS[0] if law is None else law.form,)
        tried = () if law is None else law.tried
        law = fit_law(seen, forms)
        law = replace(law, tried=law.tried if len(law.tried) > 1 else tried)
        measured = replace(measured, law=law.coefficients(measured.token_budget + measured.max_seqs), request_s=float(law.values[-1]))
    assert law is not None, "there is at least one round"
    measured = replace(measured, request_s=request_time(measured, usable, rows, made, pace))
    return Fit(
        endpoint, found, law, intervals(law, seed), measured, phase_errors(law, measured, cells, rows, made, pace),
        noise(law.observations), told, _clocks(usable, rows), tuple(excluded),
    )  # fmt: skip


def _why(excluded: Sequence[Excluded]) -> str:
    return "; ".join(f"{one.cell}: {one.why}" for one in excluded[:3])


def observe_cells(
    at: Playing, cells: Sequence[CellRow], rows: Mapping[str, Sequence[RequestRow]], made: Mapping[str, Cell]
) -> tuple[list[Observation], list[Excluded]]:
    """Observations of cells as a law plays them."""
    plays = play_cells(at, {cell.cell: made[cell.cell] for cell in cells})
    values = {name: step_seconds(at.law, one.steps) for name, one in plays.items()}
    return observations(cells, rows, plays, values)


def at_pace(seen: Sequence[Observation], cells: Sequence[CellRow], pace: Pace) -> list[Observation]:
    """Observations with their times divided by the pace of their moment."""
    factors = {cell.cell: pace.at(cell) for cell in cells}
    return [replace(one, seconds=one.seconds / factors[one.cell]) for one in seen]


def play_cells(at: Playing, cells: Mapping[str, Cell]) -> dict[str, CellPlay]:
    """Cells by the id of their rows as a law plays them."""
    return {name: play(cell, at.pool, at.block_tokens, at.request_s) for name, cell in cells.items()}


def step_seconds(law: LawCoefficients, steps: Floats) -> Floats:
    """Seconds of each step by a law."""
    costs = np.array([law.floor_s + law.host_s, law.sequence_s + law.decode_token_s, law.context_token_s or 0.0, law.prefill_token_s,
                      law.prefill_pair_s])  # fmt: skip
    shared = np.interp(steps[:, -1], law.shared_tokens, law.shared_s) if law.shared_tokens else 0.0
    return np.asarray(steps[:, : len(costs)] @ costs + shared)


def first_guess(endpoint: Endpoint, cells: Sequence[CellRow], rows: dict[str, list[RequestRow]], found: dict[str, Trait]) -> Measured:
    """A law to play the first round with: the order of magnitude of a step and of a prompt token."""
    flat = [row for own in rows.values() for row in own if row.error is None]
    decode = [row.tpot_s or (row.server_decode_s or 0) / max(1, row.asked_output_tokens - 1) for row in flat]
    steps = sorted(value for value in decode if value > 0.0)
    rates = [(row.ttft_s or row.server_prefill_s or 0) / row.asked_prompt_tokens for row in flat if row.asked_prompt_tokens > 0]
    rates = sorted(rate for rate in rates if rate > 0)
    token_s = rates[len(rates) // 10] if rates else 1e-4
    floor_s = steps[0] if steps else 10 * token_s
    return Measured.guess(endpoint, floor_s, token_s)


def with_traits(measured: Measured, found: dict[str, Trait], endpoint: Endpoint, cells: Sequence[CellRow]) -> Measured:
    """The deployment with what experiments, else the server, say of its engine."""
    return measured.told(found, endpoint, cells)


def request_time(
    measured: Measured, cells: Sequence[CellRow], rows: dict[str, list[RequestRow]], made: Mapping[str, Cell], pace: Pace
) -> float:
    """Seconds of a call before the scheduler sees it: what clients measured beyond the steps, in the median of one-token prompts."""
    single = [cell for cell in cells if cell.kind in ("floor", "prefill") and rows.get(cell.cell)]
    plays = play_cells(playing(replace(measured, request_s=0.0)), {cell.cell: made[cell.cell] for cell in single})
    beyond = []
    for cell in single:
        for row in rows[cell.cell]:
            if row.measured and row.ttft_s is not None and (row.asked_output_tokens == 1 or not row.coalesced):
                played = plays[cell.cell].requests[row.session, row.turn]
                beyond.append((row.asked_prompt_tokens, row.ttft_s / pace.at(cell) - (played.first_s - played.sent_s)))
    if not beyond:
        return measured.request_s
    beyond.sort()
    short = [seconds for _, seconds in beyond[: max(4, len(beyond) // 3)]]
    return max(0.0, float(np.median(short)))


def phase_errors(
    law: LawFit, measured: Measured, cells: Sequence[CellRow], rows: dict[str, list[RequestRow]], made: Mapping[str, Cell], pace: Pace
) -> tuple[PhaseError, ...]:
    """In-sample and leave-one-out errors, extrapolation, and cells of other regimes predicted by the fit."""
    found = [*_errors("in-sample", law.observations, law.errors), *_errors("leave-one-out", law.observations, law.left_out)]
    found += extrapolation(law)
    others = [cell for cell in cells if cell.kind in ("prefix", "saturation") and cell.kind not in {o.kind for o in law.observations}]
    seen, _ = observe_cells(playing(measured), others, rows, made)
    if seen:
        seen = at_pace(seen, others, pace)
        found += _errors("cross-regime", seen, law.predict(seen))
    return tuple(found)


def extrapolation(law: LawFit) -> list[PhaseError]:
    """The largest experiments of each kind, predicted by the law fitted to the others."""
    size = {seen.experiment: seen.seconds for seen in law.observations}
    large: set[str] = set()
    for kind in {(seen.kind, seen.quantity) for seen in law.observations}:
        own = sorted({seen.experiment for seen in law.observations if (seen.kind, seen.quantity) == kind}, key=size.__getitem__)
        large |= set(own[len(own) - int(LARGE * len(own)) :])
    out = [seen for seen in law.observations if seen.experiment in large]
    rest = [seen for seen in law.observations if seen.experiment not in large]
    if len(rest) < FEWEST or not out:
        return []
    small = fit_law(rest, (law.form,))
    return _errors("extrapolation", out, small.predict(out))


def _errors(how: str, seen: Sequence[Observation], errors: Floats) -> list[PhaseError]:
    found = []
    for kind, quantity in dict.fromkeys((one.kind, one.quantity) for one in seen):
        own = np.array([error for one, error in zip(seen, errors, strict=True) if (one.kind, one.quantity) == (kind, quantity)])
        size = np.abs(own)
        found.append(PhaseError(how, kind, quantity, len(own), float(np.median(size)), float(size.max()), float(np.median(own))))
    return found


def noise(seen: Sequence[Observation]) -> float:
    """Median absolute deviation of repetitions from the median of their experiment, relative; nan without repetitions."""
    groups: dict[tuple[str, str], list[float]] = {}
    for one in seen:
        groups.setdefault((one.experiment, one.quantity), []).append(one.seconds)
    off = [abs(value / np.median(own) - 1) for own in groups.values() if len(own) > 1 for value in own]
    return float(np.median(off)) if off else float("nan")


def _clocks(cells: Sequence[CellRow], rows: dict[str, list[RequestRow]]) -> dict[str, str]:
    found = {}
    for quantity in ("prefill", "decode"):
        own = {
            cell.cell: [row for row in rows.get(cell.cell, ()) if quantity == "prefill" or row.asked_output_tokens > 1] for cell in cells
        }
        used = [clock_of(cell, rows[cell.cell], quantity) for cell in cells if own[cell.cell]]
        found[quantity] = max(set(used), key=used.count) if used else CLIENT
    return found
