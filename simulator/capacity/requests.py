"""The calls of a phase as its window needs them, each read once while the phase is played. Inputs are an engine's calls as they finish."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.slo import E2E_SPEED, SPEED, TTFT
from simulator.capacity.stages import stage_columns, stage_seconds
from simulator.engine.world import CALL_COLUMNS, World
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
        self.names = (
            *(*stage_columns(world.fleet), "first_ps", "agent", "trajectory"),
            *("output_tokens", "prompt_tokens", "cached_tokens", "host_tokens"),
        )
        self.finished = np.zeros(len(world.calls.first) - 1, np.int64)
        self.prompt_tokens = self.cached_tokens = self.host_tokens = 0
        self.finished_output_tokens = self.finished_prompt_tokens = self.finished_ps = 0
        self.parts: list[dict[str, NDArray[Any]]] = []

    def read(self, calls: NDArray[np.int64]) -> Samples:
        """The quantities of the requests among some calls, which may be overwritten afterwards.

        Parameters
        ----------
        calls : int64 array, shape (calls, len(CALL_COLUMNS))
            Those that have ended since the last reading, in the order of ending.
        """
        ended = _columns(calls, self.names)
        column = dict(zip(self.names, ended[:, ended[self.names.index("last_ps")] >= self.window_ps], strict=True))
        self._add_up(column)
        in_window = column["send_ps"] >= self.window_ps
        sent = {name: values[in_window] for name, values in column.items()}
        self.prompt_tokens += int(sent["prompt_tokens"].sum())
        self.cached_tokens += int(sent["cached_tokens"].sum())
        self.host_tokens += int(sent["host_tokens"].sum())
        times = sent["send_ps"], sent["first_ps"], sent["last_ps"], sent["output_tokens"]
        samples = {quantity: sample(quantity, *times) for quantity in QUANTITIES}
        self.parts.append(
            {name: sent[name] for name in ("agent", "output_tokens")} | samples | {"stages": stage_seconds(self.fleet, sent).T}
        )
        return samples

    def _add_up(self, finished: Mapping[str, NDArray[np.int64]]) -> None:
        self.finished += np.bincount(finished["trajectory"], minlength=len(self.finished))
        self.finished_output_tokens += int(finished["output_tokens"].sum())
        self.finished_prompt_tokens += int(finished["prompt_tokens"].sum())
        whole, rest = np.divmod(finished["last_ps"] - finished["send_ps"], PS_PER_US)  # a sum of picoseconds outgrows 64 bits
        self.finished_ps += PS_PER_US * int(whole.sum()) + int(rest.sum())

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Of all requests so far ``agent``, ``output_tokens`` or a quantity, shape (requests,), or ``stages``, shape (stages, requests)."""
        if len(self.parts) > 1:
            self.parts = [{each: np.concatenate([part.pop(each) for part in self.parts], axis=-1) for each in tuple(self.parts[0])}]
        return self.parts[0][name]

    @property
    def samples(self) -> Samples:
        """The quantities that an SLO judges, of all requests so far."""
        return {quantity: self[quantity] for quantity in QUANTITIES}


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


def _columns(calls: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Some columns of an engine's rows, each side by side in memory; shape (columns, calls)."""
    places = [CALL_COLUMNS.index(name) for name in names]
    found = np.empty((len(places), len(calls)), np.int64)
    for at in range(0, len(calls), BLOCK):
        for values, place in zip(found, places, strict=True):
            values[at : at + BLOCK] = calls[at : at + BLOCK, place]
    return found
