"""A deployment: how a model is laid out and scheduled on a system, with the coefficients of its step-time law.

Inputs come from `hardware_profiles/deployments`; the KV pool and the accepted-length distribution are computed by `load.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.quality import Field


@dataclass(frozen=True)
class LawCoefficients:
    """Floats of the step-time law (docs/laws.md); they were fitted together and travel together.

    Attributes
    ----------
    floor_s, host_s : float
        Launch floor, and time of the engine's host work, of every step.
    routing_skew : float
        ``s``: share of query tokens that act as independent draws of experts.
    hbm_efficiency, kv_efficiency : float
        Achieved share of peak HBM bandwidth when streaming weights and when reading KV.
    decode_token_s, prefill_token_s : float
        Time per query token of the rank that sets the step.
    prefill_pair_s : float
        Time per (query token, context token) pair of a prefill chunk.
    """

    floor_s: float
    host_s: float
    routing_skew: float
    hbm_efficiency: float
    kv_efficiency: float
    decode_token_s: float
    prefill_token_s: float
    prefill_pair_s: float


@dataclass(frozen=True)
class Deployment:
    """One pool of equal ``mixed`` workers.

    Attributes
    ----------
    imitates : str
        Engine and version whose scheduling rules the options follow.
    attention : str
        ``dp``: ranks hold different sequences; ``tp``: one rank, its KV replicated on every GPU.
    ranks, ep : int
        Attention shards of a worker, and GPUs over which its experts are spread.
    blocks_per_rank, fixed_blocks : int
        KV pool of a rank and blocks that a running sequence holds whatever its length.
    pool : str
        ``computed`` from memory or ``measured``.
    accept_pmf : tuple of float
        Probability that a step of a decoding sequence yields 1, 2, .. tokens.
    speed_floor_tok_s, ttft_ceiling_s : float
        The SLO tier that this deployment was shaped for (a hint; the scenario decides).
    """

    name: str
    title: str
    imitates: str
    system: str
    model: str
    speed_floor_tok_s: float
    ttft_ceiling_s: float
    workers: int
    gpus_per_worker: int
    attention: str
    ranks: int
    ep: int
    compute_type: str
    kv_type: str
    index_type: str
    block_tokens: int
    blocks_per_rank: int
    fixed_blocks: int
    pool: str
    token_budget: int
    max_seqs: int
    long_prefill_cap: int
    prefill_interval: int
    admit_reserve: str
    watermark_share: float
    pipeline_depth: int
    prefix_cache: bool
    drafts: int
    accept_pmf: tuple[float, ...]
    lookahead: int
    router: str
    max_context_tokens: int
    law: LawCoefficients
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]

    @property
    def gpus(self) -> int:
        """Accelerators in the pool."""
        return self.workers * self.gpus_per_worker

    @property
    def gpus_per_rank(self) -> int:
        """Accelerators that serve one attention shard."""
        return self.gpus_per_worker // self.ranks

    @property
    def accepted_length(self) -> float:
        """Mean tokens that a decoding sequence gains per step."""
        return sum((i + 1) * p for i, p in enumerate(self.accept_pmf))
