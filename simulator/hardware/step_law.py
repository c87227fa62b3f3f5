"""The step-time law of one worker, as the integers that both engines add up.

Times are picoseconds, tokens are counts, so a step takes exactly the same time in every engine.
Inputs come from a system, a model card and a deployment; see `docs/laws.md` for the derivation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.deployment import Deployment, LawCoefficients, WorkerPool
from simulator.hardware.memory import expert_coverages, kv_read_line, kv_shares, weight_bytes
from simulator.hardware.model_card import ModelCard
from simulator.hardware.system import System
from simulator.units import PS_PER_S, to_ps

FRACTION_BITS = 10
"""Coefficients named ``*_fp`` are picoseconds times ``2**FRACTION_BITS``."""


class StepLaw(NamedTuple):
    """Integer coefficients of the step time of one worker.

    For a step in which rank ``r`` decodes ``b_r`` sequences with ``d`` drafts each, whose contexts sum to ``ctx_r``
    tokens, and prefills chunks of ``n`` tokens behind ``p`` computed tokens each::

        q_r    = b_r * (1 + d) + sum(n)                      query tokens of the rank
        rank_r = seq_ps * b_r + (ctx_fp * ctx_r >> 10) + decode_token_ps * b_r * (1 + d)
                 + (prefill_token_ps - expert_ps) * sum(n) + (pair_fp * sum(n * (2 * p + n)) >> 11)
                 + expert_ps * sum(n of all ranks) // ranks
        step   = floor_ps + shared_ps[min(sum(q_r), len - 1)] + max(rank_r)

    Attributes
    ----------
    floor_ps : int
        Launch floor plus host overhead of a step.
    shared_ps : int64 array, shape (Q,)
        Time that depends on the query tokens of all ranks together: weight streaming under expert coverage.
    seq_ps, ctx_fp : int
        KV reads: fixed part per decoding sequence, and per context token.
    decode_token_ps, prefill_token_ps : int
        Compute per query token of a decoding sequence (drafts included) and per prefill token.
    pair_fp : int
        Attention compute per (query token, context token) pair of a prefill chunk.
    expert_ps : int
        The part of ``prefill_token_ps`` that is its experts' arithmetic: whichever rank a prompt token is on, all GPUs of the worker do it
        together.
    """

    floor_ps: int
    shared_ps: NDArray[np.int64]
    seq_ps: int
    ctx_fp: int
    decode_token_ps: int
    prefill_token_ps: int
    pair_fp: int
    expert_ps: int = 0


LONGEST_TABLE = 65_536
"""Entries of ``shared_ps``; beyond some thousands of query tokens every expert is chosen anyhow."""


def step_law(system: System, model: ModelCard, deployment: Deployment, pool: WorkerPool) -> StepLaw:
    """Derive the integer law of one worker of a pool (docs/laws.md).

    Drafting with an MTP layer is counted as ``drafts`` passes of one layer out of ``layers``, with its own weights and the output head.
    A verifying query token costs at least the attention compute of a prefill token, so with drafts the context term is the larger of
    one KV read and ``1 + drafts`` query tokens times the prefill pair cost. A prefill pool drafts nothing, but prompts pass the layer once.
    """
    law, drafts, passes = pool.law, _drafts_of(deployment, pool), _draft_passes(deployment, pool)
    if law.context_token_s is not None:
        return measured_law(law, law.context_token_s, _query_tokens(pool, 0))
    bandwidth = system.hbm_bytes_per_s
    fixed_read, read_per_token = gpu_kv_read_line(model, deployment, pool)
    read_s = read_per_token / (law.kv_efficiency * bandwidth)
    context_s = max(read_s, (1 + drafts) * law.prefill_pair_s) if drafts else read_s
    decode_layers = 2 * drafts / (1 + drafts) / model.layers
    prefill_layers = min(passes, 1) / model.layers
    wider_s = law.wider_token_s * (pool.ep - law.fitted_ep)
    return StepLaw(
        floor_ps=to_ps(law.floor_s * (1 + passes / model.layers) + law.host_s),
        shared_ps=np.rint(streamed_bytes(model, deployment, pool) / (law.hbm_efficiency * bandwidth) * PS_PER_S).astype(np.int64),
        seq_ps=to_ps(fixed_read / (law.kv_efficiency * bandwidth)),
        ctx_fp=to_ps(context_s * 2**FRACTION_BITS),
        decode_token_ps=to_ps((law.decode_token_s + wider_s) * (1 + decode_layers)),
        prefill_token_ps=to_ps((law.prefill_token_s + wider_s) * (1 + prefill_layers)),
        pair_fp=to_ps(law.prefill_pair_s * 2**FRACTION_BITS),
        expert_ps=to_ps(law.prefill_expert_s * (1 + prefill_layers)) if pool.ranks > 1 else 0,
    )


def measured_law(law: LawCoefficients, context_token_s: float, tokens: NDArray[np.float64]) -> StepLaw:
    """The integer law of coefficients that were measured as times: nothing comes from bytes, FLOPs or a model card."""
    shared_s = np.interp(tokens, law.shared_tokens, law.shared_s) if law.shared_tokens else np.zeros(1)
    return StepLaw(
        floor_ps=to_ps(law.floor_s + law.host_s),
        shared_ps=np.rint(shared_s * PS_PER_S).astype(np.int64),
        seq_ps=to_ps(law.sequence_s),
        ctx_fp=to_ps(context_token_s * 2**FRACTION_BITS),
        decode_token_ps=to_ps(law.decode_token_s),
        prefill_token_ps=to_ps(law.prefill_token_s),
        pair_fp=to_ps(law.prefill_pair_s * 2**FRACTION_BITS),
    )


def gpu_kv_read_line(model: ModelCard, deployment: Deployment, pool: WorkerPool) -> tuple[float, float]:
    """Bytes that one GPU of a rank reads per decoding sequence, and per token of its context: its share of the KV heads."""
    fixed_share, share = kv_shares(model, pool.gpus_per_rank)
    fixed, per_token = kv_read_line(model, deployment.kv_type, deployment.index_type)
    return fixed * fixed_share, per_token * share


def streamed_bytes(model: ModelCard, deployment: Deployment, pool: WorkerPool) -> NDArray[np.float64]:
    """Weight bytes that each GPU streams in a step, by the query tokens of all ranks: shape (Q,), entry 0 for an empty step.

    Under tensor parallelism the non-expert weights are spread over the group; under attention-DP every GPU holds them all.
    """
    drafts, passes, weights = _drafts_of(deployment, pool), _draft_passes(deployment, pool), weight_bytes(model, deployment.weight_type)
    spread = pool.gpus_per_worker if pool.attention == "tp" else 1
    tokens = _query_tokens(pool, drafts)
    chosen = _coverage(model, pool, tokens)
    total = chosen * weights.experts / pool.ep + (weights.dense + weights.head) / spread
    if passes:
        # The first draft pass sees every query token, each later one a single token per sequence.
        chosen_later = _coverage(model, pool, tokens / (1 + drafts))
        total += (chosen + (passes - 1) * chosen_later) * weights.draft_experts / pool.ep
        total += passes * (weights.draft_dense + weights.head) / spread
    total[0] = 0.0
    return total


def _query_tokens(pool: WorkerPool, drafts: int) -> NDArray[np.float64]:
    """Query tokens that a step of all ranks may hold: 0, 1, .. to the most, or to the end of the table."""
    longest = pool.ranks * (pool.token_budget + pool.max_seqs * (1 + drafts))
    return np.arange(min(longest, LONGEST_TABLE - 1) + 1, dtype=np.float64)


def _drafts_of(deployment: Deployment, pool: WorkerPool) -> int:
    """Draft tokens that a decoding sequence of the pool verifies in a step."""
    return 0 if pool.role == "prefill" else deployment.drafts


def _draft_passes(deployment: Deployment, pool: WorkerPool) -> int:
    """Passes of the draft layer in a step of the pool."""
    return min(deployment.drafts, 1) if pool.role == "prefill" else deployment.drafts


def _coverage(model: ModelCard, pool: WorkerPool, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(expert_coverages(model, tokens.tolist(), pool.law.routing_skew))
