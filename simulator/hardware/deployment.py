"""A deployment: how a model is laid out and scheduled on a system, in pools of equal workers, each with its step-time coefficients.

Inputs come from `hardware_profiles/deployments` and the engine presets of `hardware_profiles/engines`; KV pools and the accepted-length
distribution are computed by `load.py` and `pools.py`.
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
    prefill_expert_s : float
        The part of ``prefill_token_s`` that all GPUs of a worker do together, whichever rank the token is on: its experts' arithmetic.
    wider_token_s, fitted_ep : float, int
        Time that each GPU of expert parallelism beyond ``fitted_ep``, the width of the fit, adds to a query token: all-to-all, and waiting
        for the rank whose experts are asked most.
    context_token_s, sequence_s : float or None, float
        A measured law: time per context token of decoding sequences, and per such sequence. Where it is given nothing is derived from
        bytes and bandwidth, and the coefficients of streaming (``routing_skew`` and the two efficiencies) are nan.
    shared_tokens, shared_s : tuple of float
        A measured law: knots of the time that the query tokens of a step cost together, straight between them and level outside.
    valid_seqs, valid_context_tokens, valid_chunk_tokens : int
        Most decoding sequences, longest context and most prompt tokens of a step that the law was fitted to; 0 for unsaid.
    """

    floor_s: float
    host_s: float
    routing_skew: float
    hbm_efficiency: float
    kv_efficiency: float
    decode_token_s: float
    prefill_token_s: float
    prefill_pair_s: float
    prefill_expert_s: float = 0.0
    wider_token_s: float = 0.0
    fitted_ep: int = 1
    context_token_s: float | None = None
    sequence_s: float = 0.0
    shared_tokens: tuple[float, ...] = ()
    shared_s: tuple[float, ...] = ()
    valid_seqs: int = 0
    valid_context_tokens: int = 0
    valid_chunk_tokens: int = 0


@dataclass(frozen=True)
class WorkerPool:
    """Equal workers with one role. What the options mean is told in docs/engines.md.

    Attributes
    ----------
    role : str
        ``mixed``: calls are prefilled and decoded here; ``prefill``: prefilled, then their KV moves to a ``decode`` pool.
    attention : str
        ``dp``: ranks hold different sequences; ``tp``: one rank, its KV heads split over
        the GPUs, and replicated where there are fewer heads than GPUs.
    ranks, ep : int
        Attention shards of a worker, and GPUs over which its experts are spread.
    blocks_per_rank, fixed_blocks : int
        KV pool of a rank and blocks that a running sequence holds whatever its length.
    pool_kind : str
        ``computed`` from memory or ``measured``.
    chunk_round : int
        A chunk that the budget cuts is floored to a multiple of this many tokens; 1 for none.
    ratio_init, ratio_min, watermark_share, slot_similarity : float
        Shares between 0 and 1.
    host_blocks : int
        KV blocks of the host tier behind a rank; 0 for none.
    tails : int
        Resumable prefix ends that a rank keeps; 0 for no such rule.
    """

    name: str
    role: str
    workers: int
    gpus_per_worker: int
    attention: str
    ranks: int
    ep: int
    blocks_per_rank: int
    fixed_blocks: int
    pool_kind: str
    token_budget: int
    max_seqs: int
    long_prefill_cap: int
    prefill_interval: int
    admit_reserve: str
    watermark_share: float
    pipeline_depth: int
    prefix_cache: str
    batch_mode: str
    decode_interval: int
    chunk_round: int
    max_new_tokens: int
    ratio_clip: int
    ratio_init: float
    ratio_min: float
    ratio_steps: int
    victim: str
    requeue: str
    visible: str
    slot_similarity: float
    lookahead: int
    host_blocks: int
    tails: int
    law: LawCoefficients

    @property
    def gpus(self) -> int:
        """Accelerators in the pool."""
        return self.workers * self.gpus_per_worker

    @property
    def gpus_per_rank(self) -> int:
        """Accelerators that serve one attention shard."""
        return self.gpus_per_worker // self.ranks


@dataclass(frozen=True)
class Deployment:
    """Pools of workers, a router before them, and a link between prefill and decode pools.

    Attributes
    ----------
    engine, imitates : str
        Engine preset, and the engine's version or commit whose scheduling rules it follows.
    inspired : tuple of str
        Options of the preset that this deployment overrides; with any, it is inspired by the engine rather than imitating it.
    speed_floor_tok_s, ttft_ceiling_s : float
        The SLO tier that this deployment was shaped for (a hint; the scenario decides).
    weight_type : str
        ``stored`` as the model card says, or what experts, dense layers and attention are cast to.
    index_type : str
        Storage of indexer keys; ``none`` for a model without an indexer.
    drafts, accept_pmf : int, tuple of float
        Draft tokens per step, and the probability that a step of a decoding sequence yields 1, 2, .. tokens.
    first_token : str
        Which side samples the first token of a call that moves: ``prefill`` or ``decode``.
    kv_transfer, decode_prealloc : str, bool
        Whether KV moves at the ``end`` of the prefill or ``chunk`` by chunk, and whether the decode side is claimed before the prefill.
    kv_link : str
        ``scale_up``, ``scale_out`` or ``host``: the link of the system over which KV moves between pools.
    kv_link_efficiency, kv_link_latency_s, kv_port : float, float, str
        Achieved share of the link's rate; time from the last byte until the KV is usable; and who has a port: every ``rank``, or a
        ``worker``, whose ranks take turns on it.
    host_latency_s : float
        Time before the first byte of a load from the host tier.
    balance_calls, balance_ratio, match_share : int, float, float
        When the prefix-aware router prefers the least loaded rank.
    request_s : float
        Time of a call before the scheduler sees it, as a calibration measured it. Not part of the simulated times (docs/laws.md).
    """

    name: str
    title: str
    engine: str
    imitates: str
    inspired: tuple[str, ...]
    system: str
    model: str
    weight_type: str
    speed_floor_tok_s: float
    ttft_ceiling_s: float
    compute_type: str
    kv_type: str
    index_type: str
    block_tokens: int
    drafts: int
    accept_pmf: tuple[float, ...]
    router: str
    decode_router: str
    first_token: str
    kv_transfer: str
    decode_prealloc: bool
    kv_link: str
    kv_link_efficiency: float
    kv_link_latency_s: float
    kv_port: str
    host_latency_s: float
    balance_calls: int
    balance_ratio: float
    match_share: float
    max_context_tokens: int
    request_s: float
    pools: tuple[WorkerPool, ...]
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]

    @property
    def gpus(self) -> int:
        """Accelerators in all pools."""
        return sum(pool.gpus for pool in self.pools)

    @property
    def accepted_length(self) -> float:
        """Mean tokens that a decoding sequence gains per step."""
        return sum((i + 1) * p for i, p in enumerate(self.accept_pmf))

    @property
    def disaggregated(self) -> bool:
        """Whether some calls move from a prefill to a decode pool."""
        return bool(self.pools_of("prefill"))

    def pools_of(self, role: str) -> tuple[WorkerPool, ...]:
        """The pools with a role, in their order."""
        return tuple(pool for pool in self.pools if pool.role == role)
