"""The calls of a phase as its window needs them, each read once while the phase is played. Inputs are an engine's calls as they finish."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.slo import E2E_SPEED, SPEED, TTFT
from simulator.capacity.stages import stage_seconds
from simulator.engine.world import World, call_columns
from simulator.units import PS_PER_US

QUANTITIES = (SPEED, TTFT, E2E_SPEED)
BLOCK = 8_192
"""Calls that are read at a time: their rows stay in the processor's caches."""

Samples = Mapping[str, NDArray[np.float64]]


class Requests:
    """What a window tells of calls: arrays of those that were sent in it and finished, sums over those that finished in it.

    An engine's rows are two to three times as large, and are not kept.

    Attributes
    ----------
    prompt_tokens, cached_tokens, host_tokens : int
        Sums over the requests.
    finished_output_tokens, finished_prompt_tokens : int
        Of the calls that finished in the window.
    finished_ps : int
        Their times from send to last token, summed.
    finished : int64 array, shape (trajectories,)
        How many they are, by trajectory.
    """

    def __init__(self, world: World) -> None:
        self.fleet, self.window_ps = world.fleet, world.stop.window_ps
        self.finished = np.zeros(len(world.calls.first) - 1, np.int64)
        self.prompt_tokens = self.cached_tokens = self.host_tokens = 0
        self.finished_output_tokens = self.finished_prompt_tokens = self.finished_ps = 0
        self.parts: dict[str, list[NDArray[Any]]] = defaultdict(list)

    def read(self, calls: NDArray[np.int64]) -> list[Samples]:
        """The quantities of the requests among some calls, a few thousand after another; the calls may be overwritten afterwards.

        Parameters
        ----------
        calls : int64 array, shape (calls, len(CALL_COLUMNS))
            Those that have ended since the last reading, in the order of ending.
        """
        return [self._read(calls[at : at + BLOCK]) for at in range(0, max(1, len(calls)), BLOCK)]

    def _read(self, calls: NDArray[np.int64]) -> Samples:
        ended = calls[call_columns(calls)["last_ps"] >= self.window_ps]
        finished = call_columns(ended)
        sent = call_columns(ended[finished["send_ps"] >= self.window_ps])
        self._add_up(finished, sent)
        times = sent["send_ps"], sent["first_ps"], sent["last_ps"], sent["output_tokens"]
        samples = {quantity: sample(quantity, *times) for quantity in QUANTITIES}
        arrays = {name: sent[name].copy() for name in ("agent", "output_tokens")} | samples | {"stages": stage_seconds(self.fleet, sent).T}
        for name, values in arrays.items():
            self.parts[name].append(values)
        return samples

    def _add_up(self, finished: Mapping[str, NDArray[np.int64]], sent: Mapping[str, NDArray[np.int64]]) -> None:
        self.finished += np.bincount(finished["trajectory"], minlength=len(self.finished))
        self.finished_output_tokens += int(finished["output_tokens"].sum())
        self.finished_prompt_tokens += int(finished["prompt_tokens"].sum())
        whole, rest = np.divmod(finished["last_ps"] - finished["send_ps"], PS_PER_US)  # a sum of picoseconds outgrows 64 bits
        self.finished_ps += PS_PER_US * int(whole.sum()) + int(rest.sum())
        self.prompt_tokens += int(sent["prompt_tokens"].sum())
        self.cached_tokens += int(sent["cached_tokens"].sum())
        self.host_tokens += int(sent["host_tokens"].sum())

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Of all requests so far ``agent``, ``output_tokens`` or a quantity, shape (requests,), or ``stages``, shape (stages, requests)."""
        if len(self.parts[name]) > 1:
            self.parts[name] = [np.concatenate(self.parts[name], axis=-1)]
        return self.parts[name][0]


def to_seconds(picoseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Picoseconds as seconds."""
    return picoseconds.astype(np.float64) / 1e12


def sample(
    quantity: str, send_ps: NDArray[np.int64], first_ps: NDArray[np.int64], last_ps: NDArray[np.int64], output_tokens: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A quantity that an SLO judges, of some calls by their columns of an engine's output."""
    if quantity == SPEED:
        return output_speed_tok_s(first_ps, last_ps, output_tokens)
    return to_seconds(first_ps - send_ps) if quantity == TTFT else output_tokens / to_seconds(last_ps - send_ps)


def output_speed_tok_s(first_ps: NDArray[np.int64], last_ps: NDArray[np.int64], output_tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Output tokens/s of calls after their first token; nan for a call with one output token."""
    with np.errstate(divide="ignore", invalid="ignore"):
        speed: NDArray[np.float64] = (output_tokens - 1) / to_seconds(last_ps - first_ps)
    speed[(last_ps <= first_ps) | (output_tokens <= 1)] = np.nan
    return speed
