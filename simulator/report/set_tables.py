"""Tables of trajectory sets: what a set holds, its reuse against cache size, and two sets beside each other. Inputs: sets and figures."""

from collections.abc import Sequence

from simulator.report.phrases import number, percent, plain
from simulator.report.tables import Sheet
from simulator.workload.reuse import ReuseCurve
from simulator.workload.trajectory import TrajectorySet
from simulator.workload.two_sample import TwoSample

MOST_ROWS = 12


def set_sheet(found: TrajectorySet) -> Sheet:
    """What a set holds and where it comes from."""
    calls = sum(len(trajectory.calls) for trajectory in found.trajectories)
    rows = [("trajectories", f"{len(found.trajectories):,}"), ("calls", f"{calls:,}"), ("history", found.history)]
    rows += [(plain(key), plain(value)) for key, value in found.provenance.items() if value]
    return Sheet(plain(found.name), ("what", "value"), tuple(rows), "ll")


def curve_rows(curve: ReuseCurve) -> list[tuple[int, float]]:
    """Cache sizes in tokens, powers of two from where a twentieth of all reuse is served to where all of it is, and the share of each."""
    most = curve.most
    sizes = [2**k for k in range(10, 50)]
    last = next(place for place, size in enumerate(sizes) if size >= curve.enough_tokens)
    first = next((place for place in range(last) if curve.share(sizes[place]) >= most / 20), last)
    return [(size, curve.share(size)) for size in sizes[max(first, last + 1 - MOST_ROWS) : last + 1]]


def curve_sheet(curve: ReuseCurve, agents: int) -> Sheet:
    """Reuse against cache size."""
    rows = tuple((f"{tokens:,}", percent(share)) for tokens, share in curve_rows(curve))
    note = (
        f"Exact for LRU over blocks of {curve.block_tokens} tokens that hold prompts and answers, {agents} agents at work, no block "
        f"pinned. From {curve.enough_tokens:,} tokens on as with an infinite cache."
    )
    return Sheet("Reuse against cache size", ("cache, tokens", "reused prompt tokens"), rows, "rr", note)


def two_sample_sheet(real: TrajectorySet, drawn: TrajectorySet, found: Sequence[TwoSample]) -> Sheet:
    """A drawn set beside the one it imitates."""
    rows = tuple((row.name, f"{row.distance:.4f}", f"{row.usual:.4f}", f"{row.p_value:.2f}", _verdict(row)) for row in found)
    note = (
        f"{number(len(drawn.trajectories))} trajectories beside {number(len(real.trajectories))}. Distance: largest difference of the "
        "cumulative distributions (Kolmogorov-Smirnov). By chance: "
        "what 95 % of random divisions of all trajectories into two such sets stay below."
    )
    columns = ("quantity", "distance", "by chance", "p", "")
    return Sheet(f"{plain(drawn.name)} beside {plain(real.name)}", columns, rows, "lrrrl", note)


def _verdict(row: TwoSample) -> str:
    return "alike" if row.p_value > 0.05 else "DIFFERENT"
