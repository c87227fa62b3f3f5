"""Where a scenario asks more of a measured law than its cells covered: longer calls, larger batches or chunks. Inputs: a point's parts.

An overlay says what its cells covered (``valid_context_tokens``, ``valid_seqs``, ``valid_chunk_tokens``; docs/calibration.md). Beyond that
its law is an extrapolation, which a note of the result says, and the command line once.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from simulator.capacity.build import Prepared
from simulator.capacity.results import PoolSummary
from simulator.hardware.deployment import WorkerPool

BEYOND = "beyond what the law was measured at, so extrapolated: "
"""How each such note begins."""


def beyond_range(prepared: Prepared, pools: Sequence[PoolSummary]) -> tuple[str, ...]:
    """The notes of an operating point; none for laws that do not say what they cover."""
    several = len(pools) > 1
    found = [
        f"{BEYOND}{'' if not several else f'pool {pool.name}: '}{what}"
        for pool, summary in zip(prepared.deployment.pools, pools, strict=True)
        for what in _beyond(prepared, pool, summary)
    ]
    return tuple(found)


def _beyond(prepared: Prepared, pool: WorkerPool, summary: PoolSummary) -> Iterator[str]:
    law, calls = pool.law, prepared.calls
    tokens = calls.prompt_tokens + (0 if pool.role == "prefill" else calls.output_tokens)
    if law.valid_context_tokens and tokens.max() > law.valid_context_tokens:
        share = float(np.mean(tokens > law.valid_context_tokens))
        yield f"{share:.0%} of the calls are longer than {law.valid_context_tokens:,} tokens, the longest has {tokens.max():,}"
    chunk = min(pool.token_budget, int(calls.prompt_tokens.max()))
    if pool.role != "decode" and law.valid_chunk_tokens and chunk > law.valid_chunk_tokens:
        yield f"a step may take {chunk:,} prompt tokens, measured were up to {law.valid_chunk_tokens:,}"
    batch = max(summary.decode_batch_per_rank, float(np.max(summary.series.decode_batch, initial=0.0)))
    if pool.role != "prefill" and law.valid_seqs and batch > law.valid_seqs:
        yield f"a rank decodes up to {batch:.0f} calls at once, measured were up to {law.valid_seqs:,}"
