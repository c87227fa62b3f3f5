"""The check of a calibration: the replay that nothing was fitted to, simulated with the overlay, beside what was measured; and a verdict.

Inputs are replay cells with their rows, and what plays them. Errors are signed: predicted over measured, less one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from simulator.calibration.cell import Cell, CellRow, RequestRow
from simulator.calibration.live_fit import Fit, play_cells
from simulator.calibration.live_overlay import Playing
from simulator.calibration.live_play import CellPlay, Floats
from simulator.calibration.live_rows import why_not

QUANTITIES = ("ttft_p50_s", "ttft_p95_s", "tpot_p50_s", "tpot_p95_s", "output_tok_s", "cache_hit")
SHARES = (0.75, 0.5, 0.25)
"""Speed floors of the SLOs that are looked at, as shares of the speed that the fewest agents measured."""

PATIENCE = 5.0
"""Their ceiling of the p95 of TTFT, in times of what the fewest agents measured."""

TARGETS = {"output_tok_s": 0.10, "tpot_p50_s": 0.15}
"""Errors up to which a profile is trusted; those on left-out prefills and prefix hits beside them."""

PREFILL_TARGET, PREFIX_TARGET = 0.08, 0.10


@dataclass(frozen=True)
class Level:
    """What one number of agents measured and what was predicted: `QUANTITIES` and the speed that three in four requests reached."""

    agents: int
    cells: int
    measured: dict[str, float]
    predicted: dict[str, float]

    def error(self, quantity: str) -> float:
        """Signed and relative; of shares (``cache_hit``) the plain difference. nan where either is unknown."""
        measured, predicted = self.measured[quantity], self.predicted[quantity]
        if quantity == "cache_hit":
            return predicted - measured
        return predicted / measured - 1 if measured > 0 else nan


@dataclass(frozen=True)
class Held:
    """Agents held at one SLO, on the ladder of replayed concurrencies: measured and predicted, 0 for none."""

    speed_tok_s: float
    ttft_s: float
    measured: int
    predicted: int
    steps: int
    """Rungs by which the prediction is too high."""


@dataclass(frozen=True)
class Check:
    """The hold-out replay, and what to make of the whole in words: ``word`` in one, ``sentences`` why."""

    levels: tuple[Level, ...]
    held: tuple[Held, ...]
    word: str
    sentences: tuple[str, ...]


def check(fit: Fit, at: Playing, cells: Sequence[CellRow], rows: Mapping[str, Sequence[RequestRow]], made: Mapping[str, Cell]) -> Check:
    """Simulates the replay cells and compares."""
    own = [cell for cell in cells if cell.kind == "replay" and "agents" in cell.params and not why_not(cell, rows.get(cell.cell, ()))]
    plays = play_cells(at, {cell.cell: made[cell.cell] for cell in own})
    levels = []
    for agents in sorted({int(cell.params["agents"]) for cell in own}):
        group = [cell for cell in own if int(cell.params["agents"]) == agents]
        measured = _middle([measured_of(cell, rows[cell.cell]) for cell in group])
        predicted = _middle([predicted_of(plays[cell.cell], at.request_s) for cell in group])
        levels.append(Level(agents, len(group), measured, predicted))
    held = tuple(slo_held(levels))
    word, sentences = verdict(fit, levels, held)
    return Check(tuple(levels), held, word, sentences)


def measured_of(cell: CellRow, rows: Sequence[RequestRow]) -> dict[str, float]:
    """The quantities of a replay cell as the client and the server's counts have them."""
    ttft = np.array([row.ttft_s for row in rows if row.ttft_s is not None])
    each = [_tpot(row) for row in rows if row.asked_output_tokens > 1]
    tpot = np.array([value for value in each if value is not None])
    if 2 * len(tpot) < len(each):
        steps = sum(row.asked_output_tokens - 1 for row in rows)
        mean = cell.metrics["decode_s"] / steps if cell.metrics.get("decode_count") and steps else nan
        tpot = np.array([mean])
    output = sum(row.output_tokens or row.asked_output_tokens for row in rows)
    seconds = max(row.end_s for row in rows) - min(row.sent_s for row in rows)
    cached = [row.cached_tokens for row in rows if row.cached_tokens is not None]
    prompts = sum(row.asked_prompt_tokens for row in rows)
    hit = sum(cached) / prompts if len(cached) == len(rows) else nan
    return _quantities(ttft, tpot, output / seconds, hit)


def _tpot(row: RequestRow) -> float | None:
    if row.server_decode_s is not None:
        return row.server_decode_s / (row.asked_output_tokens - 1)
    return row.tpot_s


def predicted_of(play: CellPlay, request_s: float) -> dict[str, float]:
    """The same of a played cell; a client's TTFT has the time before the scheduler in it."""
    played = list(play.requests.values())
    ttft = np.array([one.first_s - one.sent_s + request_s for one in played])
    tpot = np.array([(one.last_s - one.first_s) / (one.output_tokens - 1) for one in played if one.output_tokens > 1])
    seconds = max(one.last_s for one in played) - min(one.sent_s for one in played) + request_s
    hit = sum(one.cached_tokens for one in played) / sum(one.prompt_tokens for one in played)
    return _quantities(ttft, tpot, sum(one.output_tokens for one in played) / seconds, hit)


def _quantities(ttft: Floats, tpot: Floats, output_tok_s: float, hit: float) -> dict[str, float]:
    ttfts = np.percentile(ttft, [50, 95]).tolist() if len(ttft) else [nan, nan]
    tpots = np.percentile(tpot, [50, 95, 75]).tolist() if len(tpot) else [nan] * 3
    values = (*ttfts, *tpots[:2], output_tok_s, hit)
    return dict(zip(QUANTITIES, values, strict=True)) | {"speed_tok_s": 1 / tpots[2] if tpots[2] else nan}


def _middle(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([one[name] for one in found])) for name in found[0]}


def slo_held(levels: Sequence[Level]) -> list[Held]:
    """The last rung up to which each SLO holds, as measured and as predicted."""
    if len(levels) < 2:
        return []
    first = levels[0].measured
    found = []
    for share in SHARES:
        speed, ttft = share * first["speed_tok_s"], PATIENCE * first["ttft_p95_s"]
        rungs = [_rungs([getattr(level, kind) for level in levels], speed, ttft) for kind in ("measured", "predicted")]
        agents = [levels[rung - 1].agents if rung else 0 for rung in rungs]
        found.append(Held(speed, ttft, agents[0], agents[1], rungs[1] - rungs[0]))
    return found


def _rungs(levels: Sequence[Mapping[str, float]], speed: float, ttft: float) -> int:
    broken = (n for n, one in enumerate(levels) if not (one["speed_tok_s"] >= speed and one["ttft_p95_s"] <= ttft))
    return next(broken, len(levels))


def verdict(fit: Fit, levels: Sequence[Level], held: Sequence[Held]) -> tuple[str, tuple[str, ...]]:
    """``trust``, ``care`` or ``doubt``, and why."""
    said: list[str] = []
    off: list[bool] = []
    for quantity, target in TARGETS.items():
        errors = [level.error(quantity) for level in levels if np.isfinite(level.error(quantity))]
        if errors:
            worst = max(errors, key=abs)
            off.append(abs(worst) > target)
            said.append(f"{NAMES[quantity]} of the replay is predicted within {abs(worst):.0%} (signed {worst:+.0%}; goal {target:.0%})")
    if held:
        worst_steps = max((one.steps for one in held), key=abs)
        off.append(abs(worst_steps) > 1)
        said.append(f"the concurrency that holds an SLO is off by {worst_steps:+d} steps of the ladder at most (goal 1)")
    for how, kind, target in (("leave-one-out", "prefill", PREFILL_TARGET), ("cross-regime", "prefix", PREFIX_TARGET)):
        for one in fit.errors:
            if (one.how, one.kind) == (how, kind):
                off.append(one.median > target)
                said.append(f"{WORDS[kind]}: median error {one.median:.1%} (goal {target:.0%})")
    if fit.pace is not None and fit.pace.change > DRIFT:
        off.append(True)
        said.append(f"the endpoint itself changed its speed by {fit.pace.change:.0%} during the run: measure again when it is quiet")
    if np.isfinite(fit.noise):
        said.append(f"repetitions of one cell differ by {fit.noise:.1%}: nothing can be predicted better than that")
    if not levels:
        return "unchecked", ("no replay was measured, so nothing that the fit did not see was predicted", *said)
    return ("trust" if not any(off) else "care" if sum(off) < len(off) / 2 else "doubt"), tuple(said)


DRIFT = 0.15
NAMES = {
    "ttft_p50_s": "median TTFT", "ttft_p95_s": "p95 of TTFT", "tpot_p50_s": "median TPOT", "tpot_p95_s": "p95 of TPOT",
    "output_tok_s": "throughput", "cache_hit": "cache hit",
}  # fmt: skip
WORDS = {"prefill": "prefills left out of the fit", "prefix": "prompts found in the cache, predicted from uncached ones"}
VERDICTS = {
    "trust": "The profile can be trusted within its range.",
    "care": "The profile can be used with care: not every check below is met.",
    "doubt": "The profile should not be relied on: most goals are missed.",
    "unchecked": "The profile is a fit that nothing has checked.",
}
