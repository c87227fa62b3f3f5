"""Which pool binds a deployment of several, and why: the stage in which the calls lose their time leads to the pool and its resource.

Inputs are the pools of one operating point and the stages of the calls at the percentile that the SLO judges (docs/capacity.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulator.capacity.limiter import BLOCKED, Pressure, find_limiter, find_term
from simulator.capacity.results import PoolSummary
from simulator.capacity.slo import SPEED, TTFT

SLOTS = ("decode_seat", "decode_slot")
LINK = ("link_queue", "transfer")
BEFORE = ("prefill_queue", "prefill")
HOST_BUSY = 0.5
"""Share of the time that a rank's host tier is read from which the host link, not the prefill compute, is what a prefill waits for."""

SEATS_FILLED = 0.95
"""Share of the batch slots that decode on average from which memory cannot be what keeps calls out: it is asked for only when a slot is
free, whatever an engine that remembers *full* without its reason says."""

STAGE_WORDS = {
    "decode_seat": "waiting for a decode seat",
    "prefill_queue": "waiting for prefill",
    "prefill": "in prefill",
    "decode_slot": "waiting for a decode slot",
    "link_queue": "waiting for the link",
    "transfer": "on the link",
    "first_decode": "in the first decode step",
    "decode": "in decode steps",
}

RESOURCES = {
    "kv_capacity": "KV memory",
    "batch_slots": "batch slots",
    "prefill_compute": "prefill compute",
    "decode_compute": "decode compute",
    "hbm_bandwidth": "HBM bandwidth",
    "host": "launch floor",
    "transfer_link": "link",
    "host_link": "host link",
}
"""What of the pool each limiter is."""


@dataclass(frozen=True)
class Lost:
    """Where the calls at the binding clause's percentile spend the time that this clause counts.

    Attributes
    ----------
    clause : {"ttft", "speed", "e2e_speed"}
    percentile : float
    stages_s : mapping of stage to seconds
        Means over these calls; together the TTFT, or the time from the first token to the last, or both.
    mean_s : mapping of stage to seconds
        Of all requests, the whole stages.
    waitless_speed_tok_s, floor_tok_s : float
        The same percentile of the output speed if nothing between first token and decode took time, and the SLO's floor; for ``speed``.
    """

    clause: str
    percentile: float
    stages_s: Mapping[str, float]
    mean_s: Mapping[str, float]
    waitless_speed_tok_s: float = float("nan")
    floor_tok_s: float = float("nan")


@dataclass(frozen=True)
class Binding:
    """The pool that binds, by what, and the rest of a sentence that says why, with its numbers."""

    pool: str
    limiter: str
    why: str


def find_binding(pools: Sequence[PoolSummary], lost: Lost, cache_hit: float, cache_hit_possible: float) -> Binding:
    """The binding pool of an operating point with several pools.

    The stage that takes most of the binding clause's time leads to the pool: decode seats, slots and steps to the decode pool that steps
    most, queue and prefill to such a prefill pool, link stages to the pool with the busiest ports. Output speed that would hold without the
    waits after the first token is lost in the longest of them. Mixed pools count as both.
    """
    stage = _blamed(lost)
    before, after = _busiest(pools, "prefill"), _busiest(pools, "decode")
    if stage == "prefill_queue":
        stage = _held_up(before, lost.mean_s) or stage
    if stage in LINK:
        pool = max(pools, key=lambda p: p.link_share)
        limiter, clause = "transfer_link", f"the ports of the {pool.name} pool move KV {pool.link_share:.0%} of the time"
    elif stage in SLOTS:
        pool, (limiter, clause) = after, _seats(after)
    elif stage in BEFORE:
        pool, (limiter, clause) = before, _prefill(before, stage, cache_hit, cache_hit_possible)
    else:
        pool, (limiter, clause) = after, _steps(after)
    return Binding(pool.name, limiter, _why(pools, pool, limiter, clause, _spent(lost, stage)))


def _blamed(lost: Lost) -> str:
    """The stage in which the clause is lost."""
    if lost.clause != SPEED:
        return max(lost.stages_s, key=lambda stage: lost.stages_s[stage])
    waits = {stage: seconds for stage, seconds in lost.stages_s.items() if stage in (*SLOTS, *LINK)}
    share = sum(waits.values()) / (sum(lost.stages_s.values()) or 1.0)
    blamed = share >= BLOCKED and lost.waitless_speed_tok_s >= lost.floor_tok_s
    return max(waits, key=lambda stage: waits[stage]) if blamed else "decode"


def _held_up(pool: PoolSummary, mean_s: Mapping[str, float]) -> str:
    """The stage behind the prefill that keeps calls from leaving a full prefill pool: they wait longer there than their prefill takes."""
    full = max(pool.blocked_shares["kv_memory"], pool.blocked_shares["seats"]) >= BLOCKED
    behind = max((*SLOTS, *LINK), key=lambda stage: mean_s.get(stage, 0.0))
    return behind if full and mean_s.get(behind, 0.0) > mean_s.get("prefill", 0.0) else ""


def _busiest(pools: Sequence[PoolSummary], role: str) -> PoolSummary:
    """The pool that steps most among those of a role and the mixed ones."""
    return max((pool for pool in pools if pool.role in (role, "mixed")), key=lambda pool: pool.utilisation)


def _seats(pool: PoolSummary) -> tuple[str, str]:
    """What keeps calls out of a decode pool: its KV memory or its seats."""
    memory, seats = pool.blocked_shares["kv_memory"], pool.blocked_shares["seats"]
    filled = pool.decode_batch_per_rank / pool.max_seqs
    full = filled < SEATS_FILLED and (memory > seats if memory or seats else pool.kv_peak_share > filled)
    batch = f"a rank decodes {pool.decode_batch_per_rank:.0f} calls at once in {pool.max_seqs} slots"
    return "kv_capacity" if full else "batch_slots", f"{batch} and holds {pool.kv_used_share:.0%} of its KV blocks"


def _prefill(pool: PoolSummary, stage: str, cache_hit: float, cache_hit_possible: float) -> tuple[str, str]:
    pressure = Pressure(pool.step_shares, pool.blocked_shares, cache_hit, cache_hit_possible)
    limiter, clause = find_limiter(pressure) if stage == "prefill_queue" else find_term(pressure)
    if limiter == "prefill_compute" and pool.host_share >= HOST_BUSY:
        return "host_link", f"a rank reads its host tier {pool.host_share:.0%} of the time"
    return limiter, clause


def _steps(pool: PoolSummary) -> tuple[str, str]:
    limiter, clause = find_term(Pressure(pool.step_shares, pool.blocked_shares, 0.0, 0.0))
    return limiter, f"a rank decodes {pool.decode_batch_per_rank:.0f} calls at once, and {clause}"


def _why(pools: Sequence[PoolSummary], pool: PoolSummary, limiter: str, clause: str, spent: str) -> str:
    slowest = f" (a rank waits {pool.lockstep_wait_share:.0%} of that for the slowest)" if pool.lockstep_wait_share >= BLOCKED else ""
    others = "".join(f", those of the {p.name} pool {p.utilisation:.0%}" for p in pools if p is not pool)
    steps = f"its {pool.gpus} GPUs step {pool.utilisation:.0%} of the time{slowest}{others}"
    return f"the {pool.name} pool binds by its {RESOURCES[limiter]}: {clause}; {spent}; {steps}"


def _spent(lost: Lost, blamed: str) -> str:
    """Where the calls at the percentile spend their time: the blamed stage, and the longest of the others."""
    whole = sum(lost.stages_s.values()) or 1.0
    ranked = sorted(lost.stages_s, key=lambda stage: (stage != blamed, -lost.stages_s[stage]))
    parts = [(lost.stages_s[stage], STAGE_WORDS[stage]) for stage in ranked[:2] if lost.stages_s[stage] >= 0.01 * whole]
    if lost.clause == TTFT:
        said = " and ".join(f"{seconds:.2g} s {words}" for seconds, words in parts)
        return f"of its {whole:.3g} s to the first token a P{lost.percentile:g} call spends {said}"
    said = " and ".join(f"{seconds / whole:.0%} {words}" for seconds, words in parts)
    span = "from its first token to the last" if lost.clause == SPEED else "from send to last token"
    waits = lost.clause == SPEED and blamed in (*SLOTS, *LINK)
    without = f", and would reach {lost.waitless_speed_tok_s:.3g} tok/s without such waits" if waits else ""
    return f"{span} a P{lost.percentile:g} call spends {said}{without}"
