"""The workload kind ``fixed``: every call alike, as in the sprint tests. The shape comes from a scenario."""

from simulator.errors import Mistake, UserError
from simulator.units import MOST_S, MOST_TOKENS
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet


def fixed_set(isl: int, osl: int, shared_prefix_tokens: int = 0, think_s: float = 0.0) -> TrajectorySet:
    """One trajectory of one call, which every agent plays again and again; concurrency is the number of agents.

    Parameters
    ----------
    isl, osl : int
        Input and output tokens of each call, at least 1.
    shared_prefix_tokens : int
        Leading input tokens that all calls share; what is left differs in every play. Needs the marker ``after_system``.
    think_s : float
        Seconds an agent waits after an answer.

    Raises
    ------
    UserError
        A value out of range; all mistakes at once.
    """
    checks = (
        ("isl", isl, 1 <= isl <= MOST_TOKENS, f"a whole number from 1 to {MOST_TOKENS:,}"),
        ("osl", osl, 1 <= osl <= MOST_TOKENS, f"a whole number from 1 to {MOST_TOKENS:,}"),
        ("shared_prefix", shared_prefix_tokens, 0 <= shared_prefix_tokens <= isl, f"0 to isl ({isl})"),
        ("think_s", think_s, 0 <= think_s <= MOST_S, f"seconds from 0 to {MOST_S:,}"),
    )
    mistakes = [Mistake("workload", name, str(value), allowed) for name, value, good, allowed in checks if not good]
    if mistakes:
        raise UserError(mistakes)
    shape = f"fixed_{isl}_{osl}"
    call = Call(kept_tokens=0, new_tokens=isl, output_tokens=osl, tool_s=think_s)
    return TrajectorySet(
        name=shape,
        history="recorded",
        shared_prefix_tokens=shared_prefix_tokens,
        trajectories=(Trajectory(shape, (call,)),),
        provenance={"origin": "workload kind fixed: every call alike", "quality": "assumed"},
    )
