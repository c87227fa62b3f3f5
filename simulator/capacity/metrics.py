"""What one phase measured: the calls of the steady window and its counters, and their summary. Inputs come from an engine's output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.results import Series
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, grouped_percentile
from simulator.engine.world import CALL_COLUMNS, SERIES_COLUMNS, TOTAL_COLUMNS, Output, World
from simulator.units import NS_PER_S, PS_PER_NS, UJ_PER_J, to_s

SAMPLES_KEPT = 20_000

STEP_TERMS = {
    "launch_floor": "floor_ns",
    "weights": "shared_ns",
    "kv_read": "context_ns",
    "decode_compute": "decode_ns",
    "prefill_compute": "prefill_ns",
}
"""Key of `Summary.step_shares` -> column of the engine's totals."""

BLOCKED_TERMS = {"kv_memory": "blocked_memory_ns", "seats": "blocked_seats_ns", "token_budget": "blocked_budget_ns"}
"""Key of `Summary.blocked_shares` -> column of the engine's totals."""


@dataclass(frozen=True)
class Window:
    """The steady window of one phase, or of several seeds' phases put one after another.

    The *requests* of a window were sent in it and finished before its end; percentiles and cache hits are over them. Rates count every call
    that *finished* in it, whenever it was sent: dropping the calls in flight at both ends would bias a rate low.

    Attributes
    ----------
    agents, gpus, ranks : int
        Agents of one phase; GPUs; attention ranks of all workers together.
    workers : int
    window_s : float
        Length, summed over phases.
    agent : int64 array, shape (requests,)
        Agents of a later phase are numbered on from those of the phase before.
    ttft_s, speed_tok_s, e2e_speed_tok_s : float64 array, shape (requests,)
        Speeds are nan for calls with a single output token (E2E speed is not).
    output_tokens : int64 array, shape (requests,)
    prompt_tokens, cached_tokens : int
        Sums over the requests.
    trajectories : int
        Plays finished in the whole phase, ramp included.
    finished_output_tokens, finished_tokens : int
        Output, and prompt plus output tokens, of the calls that finished in the window.
    totals : mapping of str to int
        Counters of the engine (`TOTAL_COLUMNS`).
    idle_w : float
        Watts of a GPU with no step to run.
    complete : bool
        Whether every minimum of the phase rules was reached before its hard end.
    series : Series
        Of the first phase.
    """

    agents: int
    gpus: int
    ranks: int
    workers: int
    phases: int
    window_s: float
    agent: NDArray[np.int64]
    ttft_s: NDArray[np.float64]
    speed_tok_s: NDArray[np.float64]
    e2e_speed_tok_s: NDArray[np.float64]
    output_tokens: NDArray[np.int64]
    prompt_tokens: int
    cached_tokens: int
    trajectories: int
    finished_output_tokens: int
    finished_tokens: int
    totals: Mapping[str, int]
    idle_w: float
    complete: bool
    series: Series

    @property
    def samples(self) -> dict[str, NDArray[np.float64]]:
        """The quantities an SLO judges, one value per request."""
        return {SPEED: self.speed_tok_s, TTFT: self.ttft_s, E2E_SPEED: self.e2e_speed_tok_s}

    @property
    def busy_share(self) -> float:
        """Share of the window in which a worker has a step running, averaged over workers."""
        return min(1.0, self.totals["busy_ns"] / NS_PER_S / (self.window_s * self.workers))

    @property
    def energy_j(self) -> float:
        """Energy of all GPUs in the window: what the steps drew, and idle watts in between."""
        return self.totals["energy_uj"] / UJ_PER_J + self.idle_w * self.gpus * self.window_s * (1 - self.busy_share)

    @property
    def accelerator_w(self) -> float:
        """Average watts per GPU over the window."""
        return self.energy_j / (self.window_s * self.gpus)

    @property
    def step_shares(self) -> dict[str, float]:
        """The window split by term of the step-time law, and idle; sums to 1."""
        terms = {name: self.totals[column] for name, column in STEP_TERMS.items()}
        busy = sum(terms.values())
        shares = {name: self.busy_share * term / busy if busy else 0.0 for name, term in terms.items()}
        return shares | {"idle": 1 - self.busy_share}

    @property
    def blocked_shares(self) -> dict[str, float]:
        """Share of the window, averaged over ranks, in which the first waiting call was held back, by reason."""
        whole_ns = self.window_s * NS_PER_S * self.ranks
        return {name: self.totals[column] / whole_ns for name, column in BLOCKED_TERMS.items()}

    @property
    def decode_batch_per_rank(self) -> float:
        """Decoding sequences of a rank, averaged over the time in which its worker steps."""
        busy_ns = self.totals["busy_ns"] * self.ranks / self.workers
        return self.totals["decode_seq_ns"] / busy_ns if busy_ns else 0.0


def measure(world: World, output: Output) -> Window:
    """The steady window of one phase."""
    fleet, stop = world.fleet, world.stop
    column = {name: output.calls[:, i] for i, name in enumerate(CALL_COLUMNS)}
    finished = column["last_ps"] >= stop.window_ps
    sent = column["send_ps"] >= stop.window_ps
    agent, send, first, last, prompt, cached, out = (
        column[name][sent] for name in ("agent", "send_ps", "first_ps", "last_ps", "prompt_tokens", "cached_tokens", "output_tokens")
    )
    finished_output = int(column["output_tokens"][finished].sum())
    ranks = fleet.workers * fleet.ranks
    return Window(
        agents=len(fleet.start_ps),
        gpus=ranks * world.power.gpus_per_rank,
        ranks=ranks,
        workers=fleet.workers,
        phases=1,
        window_s=max(0.0, to_s(output.end_ps - stop.window_ps)),
        agent=agent,
        ttft_s=to_seconds(first - send),
        speed_tok_s=output_speed_tok_s(first, last, out),
        e2e_speed_tok_s=out / to_seconds(last - send),
        output_tokens=out,
        prompt_tokens=int(prompt.sum()),
        cached_tokens=int(cached.sum()),
        trajectories=output.plays_finished,
        finished_output_tokens=finished_output,
        finished_tokens=finished_output + int(column["prompt_tokens"][finished].sum()),
        totals=dict(zip(TOTAL_COLUMNS, output.totals.tolist(), strict=True)),
        idle_w=world.power.idle_mw / 1000,
        complete=output.end_ps < stop.max_ps or not (stop.min_plays or stop.min_agent_plays),
        series=_series(world, output, ranks),
    )


def to_seconds(picoseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Picoseconds as seconds."""
    return picoseconds.astype(np.float64) / 1e12


def output_speed_tok_s(first_ps: NDArray[np.int64], last_ps: NDArray[np.int64], output_tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Output tokens/s of calls after their first token; nan for a call with one output token."""
    speed = np.full(output_tokens.size, np.nan)
    np.divide(output_tokens - 1, to_seconds(last_ps - first_ps), out=speed, where=(last_ps > first_ps) & (output_tokens > 1))
    return speed


def pool(windows: Sequence[Window]) -> Window:
    """Several seeds' windows as one: requests concatenated, counters summed, the first one's series."""
    head = windows[0]
    offsets = np.cumsum([0] + [w.agents for w in windows[:-1]])
    return Window(
        agents=head.agents,
        gpus=head.gpus,
        ranks=head.ranks,
        workers=head.workers,
        phases=sum(w.phases for w in windows),
        window_s=sum(w.window_s for w in windows),
        agent=np.concatenate([w.agent + offset for w, offset in zip(windows, offsets, strict=True)]),
        ttft_s=np.concatenate([w.ttft_s for w in windows]),
        speed_tok_s=np.concatenate([w.speed_tok_s for w in windows]),
        e2e_speed_tok_s=np.concatenate([w.e2e_speed_tok_s for w in windows]),
        output_tokens=np.concatenate([w.output_tokens for w in windows]),
        prompt_tokens=sum(w.prompt_tokens for w in windows),
        cached_tokens=sum(w.cached_tokens for w in windows),
        trajectories=sum(w.trajectories for w in windows),
        finished_output_tokens=sum(w.finished_output_tokens for w in windows),
        finished_tokens=sum(w.finished_tokens for w in windows),
        totals={name: sum(w.totals[name] for w in windows) for name in TOTAL_COLUMNS},
        idle_w=head.idle_w,
        complete=all(w.complete for w in windows),
        series=head.series,
    )


def _series(world: World, output: Output, ranks: int) -> Series:
    """Levels over time; the last bin, which the end cuts short, is left out when there are others."""
    fleet = world.fleet
    bins = max(1, min(len(output.series), output.end_ps // output.bin_ps))
    level = {name: output.series[:bins, i].astype(np.float64) for i, name in enumerate(SERIES_COLUMNS)}
    bin_ns = output.bin_ps / PS_PER_NS
    bin_s = bin_ns / NS_PER_S
    gpus = ranks * world.power.gpus_per_rank
    idle = np.clip(1 - level["busy_ns"] / (bin_ns * fleet.workers), 0, 1)
    prompts = level["cached_tokens"] + level["prefill_tokens"]
    return Series(
        time_s=(np.arange(len(level["steps"]), dtype=np.float64) + 0.5) * bin_s,
        decode_batch=level["decode_seq_ns"] / (bin_ns * ranks),
        waiting_calls=level["waiting_ns"] / bin_ns,
        kv_used_share=level["used_block_ns"] / (bin_ns * ranks * fleet.blocks_per_rank),
        cache_hit=np.divide(level["cached_tokens"], prompts, out=np.full_like(prompts, np.nan), where=prompts > 0),
        accelerator_w=level["energy_uj"] / UJ_PER_J / (bin_s * gpus) + idle * world.power.idle_mw / 1000,
        output_tok_s=level["decode_tokens"] / bin_s,
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
        holds &= clause.meets(grouped_percentile(window.agent, values, clause.percentile, size))
    return float(holds.mean() * window.agents), float(window.output_tokens[met].sum() / window.window_s)
