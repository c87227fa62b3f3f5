"""Why a ranking by peak throughput differs from one by agents per MW: two systems' ratio as a product. Inputs are answers and sprints.

Agents per MW are peak output tokens/s per GPU, times the agents held per token/s of that peak, over the watts per GPU; so is their ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from simulator.capacity.results import Answer, Sprint

TIE = 0.02
"""Ratios nearer to 1 than this rank nobody first."""


@dataclass(frozen=True)
class Contrast:
    """Two systems at one SLO, the first by agents per MW over the other.

    Attributes
    ----------
    peak, held_of_peak, watts : float
        Ratios: of peak output tokens/s per GPU in the sprint, of agents held per token/s of that peak, and of what a GPU's watts save.
    agents_per_mw : float
        On the accelerator basis: the product of the three.
    turns : bool
        Whether the sprint ranks the two the other way round.
    """

    slo: dict[str, Any]
    system: str
    other: str
    peak: float
    held_of_peak: float
    watts: float
    agents_per_mw: float
    turns: bool
    limiter: str
    other_limiter: str
    cache_hit: float
    other_cache_hit: float


def contrasts_of(answers: Sequence[Answer], sprints: Sequence[Sprint]) -> tuple[Contrast, ...]:
    """Every pair of systems at every SLO, the best deployment of each; those that turn first."""
    peaks = {sprint.system: sprint.peak_output_tok_s_per_gpu for sprint in sprints}
    best: dict[tuple[str, str], Answer] = {}
    for answer in answers:
        key = (repr(answer.slo), answer.system)
        if answer.agents_held and answer.agents_per_mw.accelerator > (best[key].agents_per_mw.accelerator if key in best else 0.0):
            best[key] = answer
    pairs = [(a, b) for (a_key, a), (b_key, b) in combinations(best.items(), 2) if a_key[0] == b_key[0]]
    found = [
        _contrast(*(pair if pair[0].agents_per_mw.accelerator >= pair[1].agents_per_mw.accelerator else pair[::-1]), peaks)
        for pair in pairs
    ]
    return tuple(sorted(found, key=lambda contrast: not contrast.turns))


def _contrast(ahead: Answer, behind: Answer, peaks: dict[str, float]) -> Contrast:
    peak = peaks[ahead.system] / peaks[behind.system]
    per_gpu = ahead.agents_per_gpu / behind.agents_per_gpu
    per_mw = ahead.agents_per_mw.accelerator / behind.agents_per_mw.accelerator
    return Contrast(
        slo=ahead.slo,
        system=ahead.system,
        other=behind.system,
        peak=peak,
        held_of_peak=per_gpu / peak,
        watts=per_mw / per_gpu,
        agents_per_mw=per_mw,
        turns=peak < 1 - TIE and per_mw > 1 + TIE,
        limiter=ahead.limiter,
        other_limiter=behind.limiter,
        cache_hit=ahead.cache_hit,
        other_cache_hit=behind.cache_hit,
    )
