"""What a prefix cache of limited size keeps until an agent's next call, on paper: the characteristic time of least-recently-used eviction.

Inputs are the demand of a workload and the room of a pool. With ``T`` the time after which an idle prefix has been evicted, the tokens that
are resident fill the pool exactly; a call finds its prefix when its agent came back within ``T`` (docs/shape.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.shape_demand import Demand

GROUPS = 256
"""Calls are taken in groups with about the same time until the next one."""


@dataclass(frozen=True)
class Returns:
    """Calls that another one of their agent follows, in groups of growing idle time; arrays have shape (groups,).

    Attributes
    ----------
    steps, tool_s : float64 array
        Mean decode steps and tool wait of a group.
    prompt_tokens : float64 array
        Prompt tokens of a group over the number of all calls.
    reused : float64 array
        Tokens that the next calls reuse, as a share of what all calls reuse.
    ended_tokens : float
        Prompt tokens of the calls that end a thread, over the number of all calls: nobody asks for them again.
    """

    steps: NDArray[np.float64]
    tool_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.float64]
    reused: NDArray[np.float64]
    ended_tokens: float

    def kept(self, calls_s: float, room_tokens: float, step_s: float, away_s: float, stale_tokens: float) -> float:
        """Share of the reuse that a pool delivers.

        Parameters
        ----------
        calls_s : float
            Calls/s through the pool.
        room_tokens : float
            Tokens of its cache that no running call holds.
        step_s, away_s : float
            Time per decode step and other time that calls spend elsewhere before their tool starts; 0 in a mixed pool.
        stale_tokens : float
            Tokens per call that stay behind and are never asked for (answers, where prompts carry recorded ones).
        """
        idle_s = self.steps * step_s + self.tool_s + away_s
        order = np.argsort(idle_s, kind="stable")
        idle_s, tokens, reused = idle_s[order], self.prompt_tokens[order], self.reused[order]
        resident = np.cumsum(tokens * idle_s) + idle_s * (tokens.sum() - np.cumsum(tokens) + self.ended_tokens + stale_tokens)
        within = int(np.searchsorted(resident * calls_s, room_tokens, side="right"))
        return float(1.0 - reused[within:].sum())


def returns_of(demand: Demand, decoding_elsewhere: bool) -> Returns:
    """The calls of a demand that are followed, grouped by tool wait, or by decode steps when prompts wait while another pool decodes."""
    follow = np.flatnonzero(demand.returns)
    key = demand.decode_steps[follow] if decoding_elsewhere else demand.tool_s[follow]
    groups = [g for g in np.array_split(follow[np.argsort(key, kind="stable")], GROUPS) if g.size]
    reused = float(demand.reusable_tokens.sum()) or 1.0
    return Returns(
        steps=np.array([demand.decode_steps[g].mean() for g in groups]),
        tool_s=np.array([demand.tool_s[g].mean() for g in groups]),
        prompt_tokens=np.array([demand.prompt_tokens[g].sum() for g in groups]) / demand.calls,
        reused=np.array([demand.reusable_tokens[g + 1].sum() for g in groups]) / reused,
        ended_tokens=float(demand.prompt_tokens[~demand.returns].sum() / demand.calls),
    )
