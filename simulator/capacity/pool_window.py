"""What one pool of workers did in a steady window, and its levels over time. Inputs come from an engine's output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.results import Series
from simulator.engine.world import ROLE_DECODE, ROLE_PREFILL, ROLES, SERIES_COLUMNS, TOTAL_COLUMNS, Output, Pool
from simulator.hardware.power import idle_w
from simulator.units import NS_PER_S, NS_PER_US, PS_PER_NS, UJ_PER_J

STEP_TERMS = {
    "launch_floor": "floor_ns",
    "weights": "shared_ns",
    "kv_read": "context_ns",
    "decode_compute": "decode_ns",
    "prefill_compute": "prefill_ns",
}
"""Key of `PoolSummary.step_shares` -> column of the engine's totals."""

BLOCKED_TERMS = {"kv_memory": "blocked_memory_ns", "seats": "blocked_seats_ns", "token_budget": "blocked_budget_ns"}
"""Key of `PoolSummary.blocked_shares` -> column of the engine's totals."""

PEAKS = ("peak_used_blocks",)
"""Columns of the totals that are largest values, not sums."""


@dataclass(frozen=True)
class PoolWindow:
    """One pool's part of a steady window, or of several put one after another.

    Attributes
    ----------
    role : {"mixed", "prefill", "decode"}
    workers, ranks, gpus, ports : int
        Of the whole pool; a port is where KV leaves or enters, of a rank or of a worker.
    blocks_per_rank, max_seqs : int
    window_s : float
    totals : mapping of str to int
        Counters of the engine (`TOTAL_COLUMNS`).
    idle_w : float
        Watts of a GPU with no step to run.
    series : Series
        Of the first phase.
    """

    role: str
    workers: int
    ranks: int
    gpus: int
    ports: int
    blocks_per_rank: int
    max_seqs: int
    window_s: float
    totals: Mapping[str, int]
    idle_w: float
    series: Series

    @property
    def busy_share(self) -> float:
        """Share of the window in which a worker has a step running, averaged over workers."""
        return min(1.0, self.totals["busy_ns"] / NS_PER_S / (self.window_s * self.workers))

    @property
    def energy_j(self) -> float:
        """Energy of the pool's GPUs in the window: what the steps drew, and idle watts in between."""
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
    def rank_busy_ns(self) -> float:
        """Time in which a rank's worker steps, summed over ranks."""
        return self.totals["busy_ns"] * self.ranks / self.workers

    @property
    def decode_batch_per_rank(self) -> float:
        """Decoding sequences of a rank, averaged over the time in which its worker steps."""
        return self._while_busy("decode_seq_ns")

    @property
    def kv_used_share(self) -> float:
        """Share of a rank's KV blocks that calls hold, averaged over the time in which its worker steps."""
        return self._while_busy("used_block_us") * NS_PER_US / self.blocks_per_rank

    @property
    def kv_peak_share(self) -> float:
        """The largest share of a rank's KV blocks that calls held."""
        return self.totals["peak_used_blocks"] / self.blocks_per_rank

    @property
    def lockstep_wait_share(self) -> float:
        """Share of the stepping time in which a rank waits for the slowest rank of its worker, averaged over ranks."""
        return self._while_busy("lockstep_wait_ns")

    @property
    def link_share(self) -> float:
        """Share of the window in which a port moves KV, averaged over ports."""
        return min(1.0, self.totals["moving_ns"] / NS_PER_S / (self.window_s * self.ports))

    @property
    def host_share(self) -> float:
        """Share of the window in which a rank's host tier is read, averaged over ranks."""
        return min(1.0, self.totals["host_loading_ns"] / NS_PER_S / (self.window_s * self.ranks))

    def _while_busy(self, column: str) -> float:
        busy_ns = self.rank_busy_ns
        return self.totals[column] / busy_ns if busy_ns else 0.0


def pool_windows(pools: Sequence[Pool], output: Output, window_s: float) -> tuple[PoolWindow, ...]:
    """The windows of all pools of one phase, in their order."""
    return tuple(
        PoolWindow(
            role=next(name for name, role in ROLES.items() if role == pool.role),
            workers=pool.workers,
            ranks=pool.workers * pool.ranks,
            gpus=gpus_of(pool),
            ports=pool.workers * (1 if pool.shared_port else pool.ranks),
            blocks_per_rank=pool.blocks_per_rank,
            max_seqs=pool.sched.max_seqs,
            window_s=window_s,
            totals=dict(zip(TOTAL_COLUMNS, output.totals[i].tolist(), strict=True)),
            idle_w=idle_w(pool.power),
            series=series_of([pool], output.series[i : i + 1], output),
        )
        for i, pool in enumerate(pools)
    )


def gpus_of(pool: Pool) -> int:
    """GPUs of a pool."""
    return pool.workers * pool.ranks * pool.power.gpus_per_rank


def joined_pools(windows: Sequence[PoolWindow]) -> PoolWindow:
    """One pool's windows of several seeds as one: counters summed, the first one's series."""
    head = windows[0]
    totals = {name: (max if name in PEAKS else sum)(w.totals[name] for w in windows) for name in TOTAL_COLUMNS}
    return PoolWindow(
        head.role, head.workers, head.ranks, head.gpus, head.ports, head.blocks_per_rank, head.max_seqs,
        sum(w.window_s for w in windows), totals, head.idle_w, head.series,
    )  # fmt: skip


def series_of(pools: Sequence[Pool], series: NDArray[np.int64], output: Output) -> Series:
    """Levels over time of some pools together; the last bin, which the end cuts short, is left out when there are others.

    Decoding sequences are counted per rank that decodes, and prompt tokens where prompts are prefilled.

    Parameters
    ----------
    pools : sequence of Pool
    series : int64 array, shape (pools, bins, len(SERIES_COLUMNS))
        The rows of these pools.
    output : Output
        For the width of a bin and the end.
    """
    bins = max(1, min(series.shape[1], output.end_ps // output.bin_ps))
    bin_ns = output.bin_ps / PS_PER_NS
    bin_s = bin_ns / NS_PER_S
    level = {name: series[:, :bins, i].astype(np.float64) for i, name in enumerate(SERIES_COLUMNS)}
    decoding = [i for i, pool in enumerate(pools) if pool.role != ROLE_PREFILL] or list(range(len(pools)))
    prompting = [i for i, pool in enumerate(pools) if pool.role != ROLE_DECODE] or list(range(len(pools)))
    ranks = [pool.workers * pool.ranks for pool in pools]
    blocks = sum(n * pool.blocks_per_rank for n, pool in zip(ranks, pools, strict=True))
    gpus = sum(map(gpus_of, pools))
    cached = level["cached_tokens"][prompting].sum(axis=0)
    prompts = cached + level["prefill_tokens"][prompting].sum(axis=0)
    return Series(
        time_s=(np.arange(bins, dtype=np.float64) + 0.5) * bin_s,
        decode_batch=level["decode_seq_ns"][decoding].sum(axis=0) / (bin_ns * sum(ranks[i] for i in decoding)),
        waiting_calls=level["waiting_ns"].sum(axis=0) / bin_ns,
        kv_used_share=level["used_block_us"].sum(axis=0) * NS_PER_US / (bin_ns * blocks),
        cache_hit=np.divide(cached, prompts, out=np.full_like(prompts, np.nan), where=prompts > 0),
        accelerator_w=level["energy_uj"].sum(axis=0) / UJ_PER_J / (bin_s * gpus) + _idle_w(pools, level["busy_ns"], bin_ns),
        output_tok_s=level["decode_tokens"].sum(axis=0) / bin_s,
    )


def _idle_w(pools: Sequence[Pool], busy_ns: NDArray[np.float64], bin_ns: float) -> NDArray[np.float64]:
    """Idle watts per GPU of some pools together, over time."""
    gpus = sum(map(gpus_of, pools))
    watts = np.zeros(busy_ns.shape[1])
    for pool, busy in zip(pools, busy_ns, strict=True):
        idle = np.clip(1 - busy / (bin_ns * pool.workers), 0, 1)
        watts += idle * idle_w(pool.power) * (gpus_of(pool) / gpus)
    return watts
