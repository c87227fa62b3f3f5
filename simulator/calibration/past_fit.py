"""The fit to past runs, and what their files do not tell. Inputs: past runs, and what is told of the endpoint.

Two ways lead from a run's times to a law. Accounting (`past_law`) needs no law to begin with and bears noise; playing (`past_cells`), from
the law that accounting gives, knows what waits for what, and is led astray where the play and the run part. That which predicts requests
left out better is taken; so is the token budget, where nobody tells it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.calibration.cell import Endpoint
from simulator.calibration.live_fit import Fit, observe_cells, phase_errors
from simulator.calibration.live_law import BETTER, FORMS, LawFit, Observation, fit_law, intervals, solve, table
from simulator.calibration.live_overlay import Known, Measured, playing
from simulator.calibration.live_pace import STEADY
from simulator.calibration.live_play import Floats
from simulator.calibration.live_rows import CLIENT, Excluded
from simulator.calibration.live_traits import USUAL_BUDGET, by_cell, traits
from simulator.calibration.past_cells import PastCells, run_name
from simulator.calibration.past_law import MOST_REQUESTS, Columns, cut, observations
from simulator.calibration.past_run import PastRun
from simulator.errors import Mistake, UserError

PLAIN = FORMS[:1]
"""Sums over steps say little of what bends within one."""

ROUNDS = 3
FEWEST = 12
"""Times below which there is no fit: twice the coefficients."""

MOST_FOLDS = 40
"""Parts into which observations are dealt to be left out in turn."""

LEAST_BUDGET, MOST_BUDGET = 256, 16_384

NARROW = 1.5
"""Requests whose 5 and 95 % lie closer than this factor say nothing of what depends on the quantity."""


@dataclass(frozen=True)
class _Candidate:
    """A law with the deployment that it was found with."""

    law: LawFit
    measured: Measured

    @property
    def left_out(self) -> float:
        """Mean absolute error on requests left out."""
        return float(np.mean(np.abs(self.law.left_out)))


def fit_past(runs: Sequence[PastRun], past: PastCells, endpoint: Endpoint, seed: int = 0) -> Fit:
    """The fit to all but the last part of each run.

    Raises
    ------
    UserError
        When too little can be used.
    """
    told = endpoint.token_budget
    usual = told or Measured.guess(endpoint, 0.01, 1e-4).token_budget
    best = _best(runs, past, endpoint, usual)
    if told is None:
        others = [_best(runs, past, endpoint, budget) for budget in budgets(runs) if budget != usual]
        found = min(others, key=lambda one: one.left_out, default=best)
        if found.left_out < BETTER * best.left_out:
            why = f"of {len(others) + 1} budgets that under which requests left out are predicted best"
            known = Known(found.measured.token_budget, "fitted", why)
            best = replace(found, measured=replace(found.measured, known={**found.measured.known, "token_budget": known}))
    law, measured = best.law, best.measured
    return Fit(
        endpoint, traits(endpoint, (), ()), law, intervals(law, seed), measured, phase_errors(law, measured, (), {}, {}, STEADY),
        float("nan"), None, dict.fromkeys(("prefill", "decode"), CLIENT), excluded(runs),
    )  # fmt: skip


def budgets(runs: Sequence[PastRun]) -> list[int]:
    """Token budgets to try: powers of two, up to one that the longest prompt does not fill."""
    longest = max(request.prompt_tokens for run in runs for request in run.requests)
    every = [LEAST_BUDGET << power for power in range(16)]
    most = next(budget for budget in every if budget >= longest)
    return [budget for budget in every if budget <= min(MOST_BUDGET, 2 * most)]


def _best(runs: Sequence[PastRun], past: PastCells, endpoint: Endpoint, budget: int) -> _Candidate:
    """The better of both ways, at a token budget."""
    seen = [one for number, run in enumerate(runs) for one in observations(run, budget, run_name(run, number))]
    if len(seen) < FEWEST:
        raise UserError(Mistake("calibrate", "--from", f"{len(seen)} usable times", f"at least {FEWEST}", "give a longer run, or several"))
    accounted = _candidate(seen, _covered(runs, endpoint, budget))
    rows, measured = by_cell(past.requests), accounted.measured
    for number in range(ROUNDS):
        times, _ = observe_cells(playing(measured), past.cells, rows, past.made)
        if len(times) < FEWEST:
            return accounted
        if number < ROUNDS - 1:
            measured = _with_law(measured, solve(table(times, PLAIN[0]), np.array([one.seconds for one in times])))
    played = _candidate(times, measured)
    return played if played.left_out < accounted.left_out else accounted


def _candidate(seen: Sequence[Observation], measured: Measured) -> _Candidate:
    law = fit_law(_folded(seen), PLAIN)
    return _Candidate(law, _with_law(measured, law.values))


def _with_law(measured: Measured, values: Floats) -> Measured:
    law = LawFit(PLAIN[0], values, (), values, ()).coefficients(measured.token_budget + measured.max_seqs)
    return replace(measured, law=law, request_s=float(values[-1]))


def _folded(seen: Sequence[Observation]) -> list[Observation]:
    """The same with at most `MOST_FOLDS` experiments: alike requests are left out together, beside others where there are many."""
    fold = {name: number % MOST_FOLDS for number, name in enumerate(dict.fromkeys(one.experiment for one in seen))}
    if len(fold) <= MOST_FOLDS:
        return list(seen)
    return [replace(one, experiment=f"fold {fold[one.experiment] + 1}") for one in seen]


def _covered(runs: Sequence[PastRun], endpoint: Endpoint, budget: int) -> Measured:
    """The deployment without its law: what was told, a token budget, and what the runs cover."""
    used = [run.requests[: cut(run)] for run in runs]
    most = max(Columns.of(requests).side_by_side for requests in used)
    longest = max(one.prompt_tokens + one.output_tokens for requests in used for one in requests)
    guess = replace(Measured.guess(endpoint, 0.01, 1e-4), valid_context_tokens=longest).told({}, endpoint, ())
    known = {**guess.known, "token_budget": replace(guess.known["token_budget"], value=budget)}
    return replace(guess, known=known, valid_seqs=most, valid_context_tokens=longest)


def excluded(runs: Sequence[PastRun]) -> tuple[Excluded, ...]:
    """What nothing is fitted to, by run."""
    found = []
    for run in runs:
        bursts = sum(one.tpot_s is None and one.output_tokens > 1 for one in run.requests)
        for count, why in (
            (run.failed, "failed"),
            (bursts, "tokens came in bursts, so nothing of their decoding is read"),
            (sum(not one.measured for one in run.requests), "warm-up"),
            (len(run.requests) - MOST_REQUESTS, f"beyond the first {MOST_REQUESTS:,}"),
        ):
            found += [Excluded(run.name, f"{count} of {len(run.requests) + run.failed} requests: {why}")] if count > 0 else []
    return tuple(found)


def missing(runs: Sequence[PastRun], endpoint: Endpoint) -> list[str]:
    """What the files do not tell, in words."""
    requests = [request for run in runs for request in run.requests if request.measured]
    notes = ["times are a client's, no server's clock is in the files; what ran beside a request follows from the times of all"]
    if any(request.cached_tokens is None for request in requests):
        more = ", but that turns of a conversation begin as the turn before" if any(one.conversation for one in requests) else ""
        notes.append(f"no cached tokens in the files: prompts are taken as new{more}")
    untold = [name for name in ("max_seqs", "block_tokens", "kv_blocks", "token_budget") if getattr(endpoint, name) is None]
    if untold:
        notes.append(f"not told and not in the files: {', '.join(untold)}; usual values stand for them (--told {untold[0]}=N gives one)")
    beside = [1 + value for run in runs for value in Columns.of(run.requests).beside]
    prompts = [float(request.prompt_tokens) for request in requests]
    for name, values in (("prompt lengths", prompts), ("requests side by side", beside)):
        low, high = np.percentile(values, [5, 95]).tolist()
        if high < NARROW * low:
            notes.append(f"{name} hardly vary ({low:.3g} to {high:.3g}): what depends on them cannot be told from what does not")
    return notes


assert LEAST_BUDGET <= USUAL_BUDGET <= MOST_BUDGET
