"""What limits a pool of workers: a short table of rules over the measured shares of one operating point (docs/capacity.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

BLOCKED = 0.10
"""Share of time with a waiting call held back from which the thing that holds it back is the limiter."""
LOST = 0.5
"""Share of the prefilled tokens that a larger cache would have spared from which KV capacity is the limiter."""


@dataclass(frozen=True)
class Pressure:
    """What an operating point shows of a pool's resources; the fields are those of `Summary` and `PoolSummary`."""

    step_shares: Mapping[str, float]
    blocked_shares: Mapping[str, float]
    cache_hit: float
    cache_hit_possible: float


def lost_reuse(point: Pressure) -> float:
    """Share of the computed prompt tokens that were reusable and had been evicted."""
    computed = 1 - point.cache_hit
    return max(0.0, point.cache_hit_possible - point.cache_hit) / computed if computed > 0 else 0.0


@dataclass(frozen=True)
class Rule:
    """One row of the table: a limiter, how strongly it shows (0 to 1), the strength from which it counts, and how to say it."""

    limiter: str
    strength: Callable[[Pressure], float]
    counts_from: float
    sentence: str


def _term(*names: str) -> Callable[[Pressure], float]:
    """Share of the busy time that is spent in these terms of the step-time law."""

    def share(point: Pressure) -> float:
        busy = 1 - point.step_shares["idle"]
        return sum(point.step_shares[name] for name in names) / busy if busy > 0 else 0.0

    return share


QUEUES = (
    Rule("kv_capacity", lambda p: p.blocked_shares["kv_memory"], BLOCKED, "calls wait for free KV blocks {x:.0%} of the time"),
    Rule("batch_slots", lambda p: p.blocked_shares["seats"], BLOCKED, "calls wait for a free batch slot {x:.0%} of the time"),
    Rule("kv_capacity", lost_reuse, LOST, "{x:.0%} of the prefilled tokens had been in the cache and were evicted"),
)
"""First: what keeps calls from running at all, or makes work that a larger pool would spare. The strongest that counts wins."""

TERMS = (
    Rule("prefill_compute", _term("prefill_compute"), 0.0, "prefill takes {x:.0%} of the busy time"),
    Rule("hbm_bandwidth", _term("weights", "kv_read"), 0.0, "streaming weights and KV takes {x:.0%} of the busy time"),
    Rule("decode_compute", _term("decode_compute"), 0.0, "decode compute takes {x:.0%} of the busy time"),
    Rule("host", _term("launch_floor"), 0.0, "the launch floor and the host take {x:.0%} of the busy time"),
)
"""Then: the largest term of the step time."""


def find_limiter(point: Pressure) -> tuple[str, str]:
    """The limiter of a pool alone and a clause that says so with its number: a queue that counts, else the largest term of the step.

    Pass the point at which the SLO broke: at the held one the queues are by definition still short.
    """
    return _strongest(QUEUES, point) or find_term(point)


def find_term(point: Pressure) -> tuple[str, str]:
    """The largest term of a pool's step time, and a clause that says so."""
    found = _strongest(TERMS, point)
    if found is None:
        raise AssertionError("the terms of a step always have a largest one")
    return found


def _strongest(table: tuple[Rule, ...], point: Pressure) -> tuple[str, str] | None:
    shown = [(rule.strength(point), rule) for rule in table]
    strength, rule = max(shown, key=lambda pair: pair[0] if pair[0] >= pair[1].counts_from else -1.0)
    return (rule.limiter, rule.sentence.format(x=strength)) if strength >= rule.counts_from else None
