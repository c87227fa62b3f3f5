"""The measured law as a linear fit: candidate forms, coefficients with intervals, and the form with the least error on cells left out.

Inputs are observations: a measured time and the steps that it is made of, as a played cell gives them. Every form is one that the engine
plays: a floor, costs per sequence, context token, prompt token and pair, and a table over the query tokens of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.live_play import CONTEXT, PAIR, PREFILL, QUERY, SEQUENCE, STEP
from simulator.calibration.nnls import relative_fit
from simulator.hardware.deployment import LawCoefficients

Floats = NDArray[np.float64]

DRAWS = 100
INTERVAL = (5.0, 95.0)

WIDE = 0.5
"""An interval wider than this share of its value is flagged."""

ILL = 1e4
"""A condition number above this is flagged: two columns say nearly the same."""

BETTER = 0.95
"""A form with more columns must bring the error on left-out cells below this share of a simpler one's."""

EXACT = 1e-4
"""Error on left-out cells below which no other form is better: the rest is rounding."""


@dataclass(frozen=True)
class Observation:
    """A measured time and what it is made of.

    Attributes
    ----------
    experiment : str
        Cells that ask the same share it; they are left out together.
    cell, kind, quantity : str
        ``quantity`` is ``prefill``, ``ttft`` or ``decode``.
    seconds : float
    steps : float64 array, shape (steps, features)
        Those of one request, or of the mean request of a cell: ``weights`` says how much each step counts.
    weights : float64 array, shape (steps,)
    requests : float
        How many times the time before the scheduler is in it: 1 for a client's TTFT.
    """

    experiment: str
    cell: str
    kind: str
    quantity: str
    seconds: float
    steps: Floats
    weights: Floats
    requests: float


@dataclass(frozen=True)
class Form:
    """A form of the law: what the query tokens of a step cost together.

    ``plain``: nothing of their own. ``streaming``: ``1 - exp(-q / knee)``, as experts that tokens choose are streamed. ``bend``: each
    beyond the ``knee``, as where a step turns from bandwidth to compute.
    """

    kind: str
    knee: int = 0

    def shape(self, queries: Floats) -> Floats:
        """The cost of a step's query tokens, up to its coefficient."""
        if self.kind == "streaming":
            return np.asarray(1 - np.exp(-queries / self.knee))
        return np.asarray(np.maximum(0.0, queries - self.knee))

    def __str__(self) -> str:
        return self.kind if self.kind == "plain" else f"{self.kind} at {self.knee} query tokens"


FORMS = (Form("plain"), *(Form("streaming", knee) for knee in (8, 64)), *(Form("bend", knee) for knee in (16, 64, 256)))

COLUMNS = ("floor_s", "sequence_s", "context_token_s", "prefill_token_s", "prefill_pair_s", "shared_s", "request_s")
UNITS = dict(zip(COLUMNS, ("s", "s/sequence", "s/token", "s/token", "s/pair", "s", "s/request"), strict=True))
ALWAYS = (STEP, SEQUENCE, CONTEXT, PREFILL, PAIR)


def table(observations: Sequence[Observation], form: Form) -> Floats:
    """The matrix of a fit: a row for each observation, a column for each of `COLUMNS`."""
    rows = np.zeros((len(observations), len(COLUMNS)))
    for number, seen in enumerate(observations):
        rows[number, : len(ALWAYS)] = seen.weights @ seen.steps[:, ALWAYS]
        if form.kind != "plain":
            rows[number, len(ALWAYS)] = seen.weights @ form.shape(seen.steps[:, QUERY])
        rows[number, -1] = seen.requests
    return rows


def solve(matrix: Floats, seconds: Floats) -> Floats:
    """Non-negative coefficients with small relative errors; columns that are nothing stay 0."""
    found = np.zeros(matrix.shape[1])
    used = matrix.any(axis=0)
    found[used] = relative_fit(matrix[:, used], seconds)
    return found


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of the law with its interval, its flags in words, and how many cells speak of it."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class LawFit:
    """A fitted form.

    Attributes
    ----------
    form : Form
    values : float64 array, shape (len(COLUMNS),)
    observations : tuple of Observation
    left_out : float64 array, shape (observations,)
        Signed relative error of each when its experiment was left out.
    tried : tuple of (Form, float)
        Median absolute error on experiments left out, of every form.
    """

    form: Form
    values: Floats
    observations: tuple[Observation, ...]
    left_out: Floats
    tried: tuple[tuple[Form, float], ...]

    @cached_property
    def matrix(self) -> Floats:
        """The table of the fit."""
        return table(self.observations, self.form)

    @cached_property
    def seconds(self) -> Floats:
        """The measured times."""
        return np.array([seen.seconds for seen in self.observations])

    @property
    def errors(self) -> Floats:
        """Signed relative error of each observation."""
        return np.asarray(self.matrix @ self.values / self.seconds - 1)

    def predict(self, observations: Sequence[Observation]) -> Floats:
        """Signed relative errors on other observations."""
        measured = np.array([seen.seconds for seen in observations])
        return np.asarray(table(observations, self.form) @ self.values / measured - 1)

    @property
    def condition(self) -> float:
        """Condition number of the table in relative terms, its columns scaled to equal length."""
        scaled = self.matrix[:, self.matrix.any(axis=0)] / self.seconds[:, None]
        return float(np.linalg.cond(scaled / np.linalg.norm(scaled, axis=0)))

    def coefficients(self, most_query: int) -> LawCoefficients:
        """As a deployment holds them; ``most_query`` is where the table over query tokens may end."""
        floor, sequence, context, prefill, pair, shared, _ = self.values.tolist()
        knots, times = shared_knots(self.form, shared, most_query)
        nan = float("nan")
        return LawCoefficients(
            floor, 0.0, nan, nan, nan, 0.0, prefill, pair,
            context_token_s=context, sequence_s=sequence, shared_tokens=knots, shared_s=times,
        )  # fmt: skip


def shared_knots(form: Form, seconds: float, most_query: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the cost of a step's query tokens; none where it is nothing."""
    if form.kind == "plain" or not seconds:
        return (), ()
    top = max(most_query, 2 * form.knee)
    knots = sorted({0, form.knee, top, *(form.knee * k // 8 for k in range(1, 49) if form.knee * k // 8 < top)})
    return tuple(map(float, knots)), tuple((seconds * form.shape(np.array(knots, dtype=np.float64))).tolist())


def fit_law(observations: Sequence[Observation], forms: Sequence[Form] = FORMS) -> LawFit:
    """The form with the least error on experiments left out, the simpler one where a bend brings little."""
    seconds = np.array([seen.seconds for seen in observations])
    tried: list[LawFit] = []
    for form in forms:
        matrix = table(observations, form)
        left = leave_out(matrix, seconds, [seen.experiment for seen in observations])
        tried.append(LawFit(form, solve(matrix, seconds), tuple(observations), left, ()))
    scores = [float(np.mean(np.abs(fit.left_out))) for fit in tried]
    best = int(np.argmin(scores))
    if scores[best] > BETTER * scores[0] or scores[0] < EXACT:
        best = 0
    found = tried[best]
    ranking = tuple((fit.form, float(np.median(np.abs(fit.left_out)))) for fit in tried)
    return LawFit(found.form, found.values, found.observations, found.left_out, ranking)


def leave_out(matrix: Floats, seconds: Floats, experiments: Sequence[str]) -> Floats:
    """Signed relative error of each row with the law fitted to all other experiments."""
    names = np.array(experiments)
    errors = np.zeros(len(seconds))
    for name in np.unique(names):
        out = names == name
        if out.all():
            return matrix @ solve(matrix, seconds) / seconds - 1
        errors[out] = matrix[out] @ solve(matrix[~out], seconds[~out]) / seconds[out] - 1
    return errors


def intervals(fit: LawFit, seed: int = 0, draws: int = DRAWS) -> tuple[Coefficient, ...]:
    """The coefficients with the 5 to 95 % of fits to experiments drawn again, and what is doubtful about each."""
    names = np.array([seen.experiment for seen in fit.observations])
    groups = [np.flatnonzero(names == name) for name in np.unique(names)]
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        rows = np.concatenate([groups[i] for i in random.integers(len(groups), size=len(groups))])
        found.append(solve(fit.matrix[rows], fit.seconds[rows]))
    low, high = np.percentile(np.array(found), INTERVAL, axis=0)
    ill = fit.condition > ILL
    result = []
    for i, name in enumerate(COLUMNS):
        if not fit.matrix[:, i].any():
            continue
        value = float(fit.values[i])
        flags = ["at its bound, 0"] if value == 0 else []
        flags += ["wide interval"] if value and high[i] - low[i] > WIDE * value else []
        flags += [f"ill-conditioned ({fit.condition:.0f})"] if ill else []
        result.append(Coefficient(name, value, float(low[i]), float(high[i]), UNITS[name], tuple(flags)))
    return tuple(result)
