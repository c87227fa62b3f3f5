"""What one phase measured: the calls of the steady window and its counters. Inputs come from an engine's output."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.pool_window import PoolWindow, joined_pools, pool_windows, series_of
from simulator.capacity.requests import Requests
from simulator.capacity.results import Series
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, groups_that_meet
from simulator.capacity.stages import before_first, stage_names
from simulator.engine.world import Output, Stop, World
from simulator.units import to_s

SAMPLES_KEPT = 20_000


@dataclass(frozen=True)
class Window:
    """The steady window of one phase, or of several seeds' phases put one after another.

    The *requests* of a window were sent in it and finished before its end; percentiles and cache hits are over them. Rates count every call
    that *finished* in it, whenever it was sent: dropping the calls in flight at both ends would bias a rate low.

    Attributes
    ----------
    agents : int
        Of one phase.
    pools : tuple of PoolWindow
    window_s : float
        Length, summed over phases.
    agent : int64 array, shape (requests,)
        Agents of a later phase are numbered on from those of the phase before.
    ttft_s, speed_tok_s, e2e_speed_tok_s : float64 array, shape (requests,)
        Speeds are nan for calls with a single output token (E2E speed is not).
    stages : tuple of str
        The stages of a call, in their order (capacity/stages.py).
    stage_s : float64 array, shape (requests, stages)
        Time in each; a row adds up to the call's time from send to last token.
    output_tokens : int64 array, shape (requests,)
    prompt_tokens, cached_tokens, host_tokens : int
        Sums over the requests.
    trajectories : int
        Plays finished in the whole phase, ramp included.
    finished_output_tokens, finished_tokens : int
        Output, and prompt plus output tokens, of the calls that finished in the window.
    finished_calls : int
    finished_trajectories : float
        Each call that finished in the window, as its share of its trajectory's calls.
    finished_s : float
        Time from send to last token, summed over the calls that finished in the window.
    complete : bool
        Whether every minimum of the phase rules was reached before its hard end.
    series : Series
        Of the first phase, all pools together.
    """

    agents: int
    pools: tuple[PoolWindow, ...]
    phases: int
    window_s: float
    agent: NDArray[np.int64]
    ttft_s: NDArray[np.float64]
    speed_tok_s: NDArray[np.float64]
    e2e_speed_tok_s: NDArray[np.float64]
    stages: tuple[str, ...]
    stage_s: NDArray[np.float64]
    output_tokens: NDArray[np.int64]
    prompt_tokens: int
    cached_tokens: int
    host_tokens: int
    trajectories: int
    finished_output_tokens: int
    finished_tokens: int
    finished_calls: int
    finished_trajectories: float
    finished_s: float
    complete: bool
    series: Series

    @property
    def samples(self) -> dict[str, NDArray[np.float64]]:
        """The quantities an SLO judges, one value per request."""
        return {SPEED: self.speed_tok_s, TTFT: self.ttft_s, E2E_SPEED: self.e2e_speed_tok_s}

    @cached_property
    def ahead_s(self) -> NDArray[np.float64]:
        """The part of each stage that passed before the first token; shape as `stage_s`."""
        return before_first(self.stage_s, self.ttft_s)

    @cached_property
    def after_s(self) -> NDArray[np.float64]:
        """The rest of each stage, after the first token; shape as `stage_s`."""
        return self.stage_s - self.ahead_s

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return sum(pool.gpus for pool in self.pools)

    @property
    def preemptions(self) -> int:
        """Calls that had to give way."""
        return sum(pool.totals["preemptions"] for pool in self.pools)

    @property
    def busy_share(self) -> float:
        """Share of the window in which a step runs, averaged over GPUs."""
        return sum(share * pool.busy_share for share, pool in self._by_gpus())

    @property
    def energy_j(self) -> float:
        """Energy of all GPUs in the window: what the steps drew, and idle watts in between."""
        return sum(pool.energy_j for pool in self.pools)

    @property
    def accelerator_w(self) -> float:
        """Average watts per GPU over the window."""
        return self.energy_j / (self.window_s * self.gpus)

    @property
    def step_shares(self) -> dict[str, float]:
        """The window split by term of the step-time law, and idle, averaged over GPUs; sums to 1."""
        found = [(share, pool.step_shares) for share, pool in self._by_gpus()]
        return {name: sum(share * shares[name] for share, shares in found) for name in found[0][1]}

    @property
    def blocked_shares(self) -> dict[str, float]:
        """Share of the window, averaged over ranks, in which the first waiting call was held back, by reason."""
        ranks = sum(pool.ranks for pool in self.pools)
        found = [(pool.ranks / ranks, pool.blocked_shares) for pool in self.pools]
        return {name: sum(share * shares[name] for share, shares in found) for name in found[0][1]}

    @property
    def decode_batch_per_rank(self) -> float:
        """Decoding sequences of a rank that decodes, averaged over the time in which its worker steps."""
        decoding = [pool for pool in self.pools if pool.role != "prefill"]
        busy_ns = sum(pool.rank_busy_ns for pool in decoding)
        return sum(pool.totals["decode_seq_ns"] for pool in decoding) / busy_ns if busy_ns else 0.0

    @property
    def calls_in_flight(self) -> float:
        """Calls between send and last token, on average: their rate times their time (Little's law), over those that finished."""
        return self.finished_s / self.window_s

    def _by_gpus(self) -> list[tuple[float, PoolWindow]]:
        """Each pool with its share of the GPUs."""
        return [(pool.gpus / self.gpus, pool) for pool in self.pools]


def measure(world: World, output: Output) -> Window:
    """The steady window of one phase."""
    requests = Requests(world)
    requests.read(output.calls)
    return window_of(world, output, requests)


def window_of(world: World, output: Output, requests: Requests) -> Window:
    """The steady window of one phase whose calls were read on the way."""
    fleet, stop = world.fleet, world.stop
    window_s = steady_s(stop, output)
    return Window(
        agents=len(fleet.start_ps),
        pools=pool_windows(fleet.pools, output, window_s),
        phases=1,
        window_s=window_s,
        agent=requests["agent"],
        ttft_s=requests[TTFT],
        speed_tok_s=requests[SPEED],
        e2e_speed_tok_s=requests[E2E_SPEED],
        stages=stage_names(fleet),
        stage_s=requests["stages"].T,
        output_tokens=requests["output_tokens"],
        prompt_tokens=requests.prompt_tokens,
        cached_tokens=requests.cached_tokens,
        host_tokens=requests.host_tokens,
        trajectories=output.plays_finished,
        finished_output_tokens=requests.finished_output_tokens,
        finished_tokens=requests.finished_output_tokens + requests.finished_prompt_tokens,
        finished_calls=int(requests.finished.sum()),
        finished_trajectories=float((requests.finished / np.diff(world.calls.first)).sum()),
        finished_s=to_s(requests.finished_ps),
        complete=is_complete(stop, output),
        series=series_of(fleet.pools, output.series, output),
    )


def steady_s(stop: Stop, output: Output) -> float:
    """Seconds of a phase's steady window."""
    return max(0.0, to_s(output.end_ps - stop.window_ps))


def is_complete(stop: Stop, output: Output) -> bool:
    """Whether a phase reached every minimum of its rules before its hard end."""
    return output.end_ps < stop.max_ps or not (stop.min_plays or stop.min_agent_plays)


def joined(windows: Sequence[Window]) -> Window:
    """Several seeds' windows as one: requests concatenated, counters summed, the first one's series."""
    head = windows[0]
    offsets = np.cumsum([0] + [w.agents for w in windows[:-1]])
    return Window(
        agents=head.agents,
        pools=tuple(map(joined_pools, zip(*(w.pools for w in windows), strict=True))),
        phases=sum(w.phases for w in windows),
        window_s=sum(w.window_s for w in windows),
        agent=np.concatenate([w.agent + offset for w, offset in zip(windows, offsets, strict=True)]),
        ttft_s=np.concatenate([w.ttft_s for w in windows]),
        speed_tok_s=np.concatenate([w.speed_tok_s for w in windows]),
        e2e_speed_tok_s=np.concatenate([w.e2e_speed_tok_s for w in windows]),
        stages=head.stages,
        stage_s=np.concatenate([w.stage_s.T for w in windows], axis=1).T,
        output_tokens=np.concatenate([w.output_tokens for w in windows]),
        prompt_tokens=sum(w.prompt_tokens for w in windows),
        cached_tokens=sum(w.cached_tokens for w in windows),
        host_tokens=sum(w.host_tokens for w in windows),
        trajectories=sum(w.trajectories for w in windows),
        finished_output_tokens=sum(w.finished_output_tokens for w in windows),
        finished_tokens=sum(w.finished_tokens for w in windows),
        finished_calls=sum(w.finished_calls for w in windows),
        finished_trajectories=sum(w.finished_trajectories for w in windows),
        finished_s=sum(w.finished_s for w in windows),
        complete=all(w.complete for w in windows),
        series=head.series,
    )


def describe(values: NDArray[np.float64], *percentiles: int, mean: bool = True) -> dict[str, float]:
    """Mean and percentiles (keys ``mean``, ``p50``, ..) by linear interpolation; nan where nothing was measured."""
    known = values[~np.isnan(values)]
    found = np.percentile(known, percentiles) if known.size else np.full(len(percentiles), np.nan)
    named = {f"p{p}": float(x) for p, x in zip(percentiles, found, strict=True)}
    return named | {"mean": float(known.mean()) if known.size else float("nan")} if mean else named


def thinned(values: NDArray[np.float64], most: int = SAMPLES_KEPT) -> NDArray[np.float64]:
    """At most ``most`` of the known values, evenly spaced through the array."""
    known = values[~np.isnan(values)]
    if known.size <= most:
        return known
    return np.asarray(known[np.linspace(0, known.size - 1, most).astype(np.int64)])


def goodput(window: Window, slo: SLO) -> tuple[float, float]:
    """Agents that hold the SLO each for itself, and output tokens/s of the calls that met every limit singly.

    An agent holds when the percentiles of its own requests in the window meet every clause; one without a request does not.
    """
    size = window.agents * window.phases
    holds = np.bincount(window.agent, minlength=size) > 0
    met = np.ones(window.agent.size, dtype=np.bool_)
    for clause in slo.clauses:
        values = window.samples[clause.quantity]
        met &= clause.meets(values)
        holds &= groups_that_meet(window.agent, values, clause, size)
    return float(holds.mean() * window.agents), float(window.output_tokens[met].sum() / window.window_s)
