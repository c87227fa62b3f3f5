"""Results of rate matching on paper: a load and what its calls get, and the largest load that a shape holds."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from simulator.units import W_PER_MW

HALVINGS = 18
"""Halvings of the interval in which a largest value lies."""


@dataclass(frozen=True)
class Load:
    """A load on paper and what the calls get from it: one point of the closed loop.

    Attributes
    ----------
    agents, calls_s, cycle_s : float
        Little's law: ``agents = calls_s * cycle_s / parallel``.
    ttft_s, speed_tok_s : float
        At the percentiles of the SLO.
    step_s, batch : float
        Time per decode step, and decoding calls of a rank.
    opening_s : float
        From one opening for prefill to the next.
    kept : float
        Share of the possible reuse that the prefix cache delivers.
    watts : float
        Of all GPUs, accelerator basis.
    broken : tuple of str
        Pool and clause that this load breaks; empty words when it holds.
    """

    agents: float = 0.0
    calls_s: float = 0.0
    cycle_s: float = inf
    ttft_s: float = inf
    speed_tok_s: float = 0.0
    step_s: float = inf
    batch: float = 0.0
    opening_s: float = inf
    kept: float = 0.0
    watts: float = 0.0
    broken: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Estimate:
    """What a shape holds on paper: the largest load that meets the SLO, and which pool binds by what.

    ``pool`` is ``prefill``, ``decode``, ``mixed`` or ``link``; ``by`` is ``ttft``, ``speed``, ``e2e_speed``, ``seats``, ``kv_memory``,
    ``token_budget`` or ``rate``.
    """

    agents: int
    gpus: int
    load: Load
    pool: str
    by: str

    @property
    def agents_per_gpu(self) -> float:
        """Agents over all GPUs of the shape."""
        return self.agents / self.gpus

    @property
    def agents_per_mw(self) -> float:
        """Agents per MW of modelled accelerator draw."""
        return self.agents / self.load.watts * W_PER_MW if self.load.watts else 0.0

    def score(self, by: str) -> float:
        """Agents per ``gpu`` or per ``mw``."""
        return self.agents_per_mw if by == "mw" else self.agents_per_gpu


def largest(gpus: int, load_at: Callable[[float], Load], most: float, pool: str, by: str) -> Estimate:
    """The largest load up to ``most`` that breaks nothing; ``pool`` and ``by`` are what binds at ``most`` itself."""
    if not load_at(most).broken[1]:
        return estimated(gpus, load_at(most), pool, by)
    held = bisect(lambda x: not load_at(x).broken[1], most)
    pool, by = load_at(min(most, held + most * 2.0 ** (1 - HALVINGS))).broken
    return estimated(gpus, load_at(held) if held else Load(), pool, by)


def estimated(gpus: int, load: Load, pool: str, by: str) -> Estimate:
    """A load as an estimate; agents are whole."""
    return Estimate(int(load.agents), gpus, load, pool, by)


def bisect(holds: Callable[[float], bool], most: float) -> float:
    """The largest value from 0 to ``most`` at which something holds that holds everywhere below; 0 when nowhere."""
    if holds(most):
        return most
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
