"""Compiles trajectories to the flat arrays an engine reads: calls, threads, and the compressed radix tree of their prompts in KV blocks.

Inputs are a `TrajectorySet` and how it is served: block size, history, where the per-play marker stands, drafts, context limit. The tree
is static: what may ever be shared is known beforehand, and an engine only tracks which of its blocks are in memory.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import Mistake, UserError
from simulator.units import to_ps
from simulator.workload.arrays import Calls, PrefixTree, Threads, single_threads
from simulator.workload.cut import cut_trajectory
from simulator.workload.forest import NEVER, Forest
from simulator.workload.trajectory import HISTORIES, MARKERS, History, Marker, Trajectory, TrajectorySet


@dataclass(frozen=True)
class Compiled:
    """What an engine replays, and what an infinite cache would reuse of it.

    ``reusable_tokens`` and ``reusable_block_tokens`` are sums over one play of each trajectory, at token and at block granularity: what an
    earlier call of the play left, or (outside ``SCOPE_PLAY``) an earlier play; of the set's `prefixes`, what a trajectory before it in the
    set had. The last token of a prompt is never reusable: it must be
    computed to sample from it. Where sub-agents run in parallel these are upper bounds: "earlier" is in recorded order, a call, what it
    spawned, the next call, as if siblings ran one after the other.

    Attributes
    ----------
    calls : Calls
    threads : Threads
    tree : PrefixTree
    ids : tuple of str
        Trajectory ids, in the order of ``calls.first``.
    kept_calls : int
        Calls that fit the context limit.
    cut_trajectories : int
        Trajectories in which a thread ended early (or that dropped out) because a call exceeds the context limit.
    reusable_tokens, reusable_block_tokens, prompt_tokens : int
    """

    calls: Calls
    threads: Threads
    tree: PrefixTree
    ids: tuple[str, ...]
    kept_calls: int
    cut_trajectories: int
    reusable_tokens: int
    reusable_block_tokens: int
    prompt_tokens: int


def compile_calls(
    trajectories: TrajectorySet,
    *,
    block_tokens: int,
    history: History | None = None,
    marker: Marker = "front",
    accept_pmf: Sequence[float] = (1.0,),
    drafts: int = 0,
    seed: int = 0,
    stops: bool = True,
    max_context_tokens: int | None = None,
) -> Compiled:
    """Calls and prefix tree of a set.

    Parameters
    ----------
    block_tokens : int
        Tokens in a KV block.
    history : {"recorded", "generated"}, optional
        Whether a later prompt reuses earlier prompts only, or generated answers too; the set's own when left out.
    marker : {"front", "after_system", "none"}
        Where each play's random marker stands: before everything (nothing is shared between plays), after what the set says is shared, or
        nowhere (plays of one trajectory share their prompts). The marker's own few tokens are not counted.
    accept_pmf : sequence of float
        Probability that a decode step yields 1, 2, .. tokens; read only when `drafts` > 0.
    drafts, seed : int
        Draft tokens per step; seed of the drawn steps. Draws depend on seed and trajectory id, not on the order of trajectories.
    stops : bool
        Whether calls end by a stop token rather than by length.
    max_context_tokens : int, optional
        A thread is cut before its first call whose prompt and output exceed this; the sub-agents of calls that are cut vanish.

    Raises
    ------
    UserError
        An argument out of range, or no call fits the context limit.
    """
    history = trajectories.history if history is None else history
    _refuse_bad_arguments(block_tokens, history, marker, accept_pmf, drafts, max_context_tokens)
    limit = max_context_tokens if max_context_tokens is not None else NEVER
    kept, cut = _cut(trajectories, limit)
    forest = Forest(block_tokens, trajectories.shared_prefix_tokens, history == "generated", marker, trajectories.prefixes)
    for trajectory in kept:
        forest.add(trajectory)
    flat = [call for trajectory in kept for call in trajectory.calls]
    first = np.cumsum([0] + [len(trajectory.calls) for trajectory in kept], dtype=np.int64)
    output = _ints(call.output_tokens for call in flat)
    calls = Calls(
        first=first,
        prompt_tokens=_ints(call.prompt_tokens for call in flat),
        output_tokens=output,
        decode_steps=decode_steps([trajectory.id for trajectory in kept], first, output, accept_pmf, drafts, seed),
        tool_ps=_ints(to_ps(call.tool_s) for call in flat),
        stops=np.full(len(flat), int(stops), dtype=np.int64),
        leaf=_ints(forest.leaf),
        answer=_ints(forest.answer),
    )
    return Compiled(
        calls=calls,
        threads=_threads(kept, first),
        tree=PrefixTree(_ints(forest.parent), _ints(forest.start), _ints(forest.blocks), _ints(forest.scope)),
        ids=tuple(trajectory.id for trajectory in kept),
        kept_calls=len(flat),
        cut_trajectories=cut,
        reusable_tokens=forest.reusable_tokens,
        reusable_block_tokens=forest.reusable_blocks * block_tokens,
        prompt_tokens=int(calls.prompt_tokens.sum()),
    )


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _refuse_bad_arguments(
    block_tokens: int, history: str, marker: str, accept_pmf: Sequence[float], drafts: int, max_context_tokens: int | None
) -> None:
    pmf_good = len(accept_pmf) >= 1 and min(accept_pmf) >= 0 and abs(sum(accept_pmf) - 1) <= 1e-9
    checks = (
        ("block_tokens", block_tokens, block_tokens >= 1, "a whole number >= 1"),
        ("history", history, history in HISTORIES, " or ".join(HISTORIES)),
        ("marker", marker, marker in MARKERS, ", ".join(MARKERS)),
        ("accept_pmf", accept_pmf, drafts == 0 or pmf_good, "probabilities >= 0 that sum to 1"),
        ("accept_pmf", accept_pmf, drafts == 0 or len(accept_pmf) <= drafts + 1, f"at most {drafts + 1} values: drafts + 1 tokens a step"),
        ("drafts", drafts, drafts >= 0, "a whole number >= 0"),
        ("max_context_tokens", max_context_tokens, max_context_tokens is None or max_context_tokens >= 2, "a whole number >= 2"),
    )
    mistakes = [Mistake("workload", name, str(value), allowed) for name, value, good, allowed in checks if not good]
    if mistakes:
        raise UserError(mistakes)


def _cut(trajectories: TrajectorySet, limit: int) -> tuple[list[Trajectory], int]:
    kept, cut = [], 0
    for trajectory in trajectories.trajectories:
        fitting = cut_trajectory(trajectory, limit)
        cut += fitting is not trajectory
        if fitting is not None:
            kept.append(fitting)
    if not kept:
        hint = "every first call is longer; raise the deployment's max_context_tokens or choose other trajectories"
        raise UserError(Mistake(trajectories.name, "max_context_tokens", str(limit), "room for at least one call", hint))
    return kept, cut


def _threads(trajectories: Sequence[Trajectory], first: NDArray[np.int64]) -> Threads:
    if not any(trajectory.sub_agents for trajectory in trajectories):
        return single_threads(first)
    threads = np.cumsum([0] + [1 + len(trajectory.sub_agents) for trajectory in trajectories], dtype=np.int64)
    call = [first[t] + thread.start for t, trajectory in enumerate(trajectories) for thread in trajectory.threads]
    delay_ps = [to_ps(s) for trajectory in trajectories for s in (0.0, *(agent.delay_s for agent in trajectory.sub_agents))]
    child, children = np.full(first[-1], -1, np.int64), np.zeros(first[-1], np.int64)
    for t, trajectory in enumerate(trajectories):
        for number, agent in enumerate(trajectory.sub_agents, start=1):
            spawned_by = first[t] + agent.spawned_by
            if not children[spawned_by]:
                child[spawned_by] = threads[t] + number
            children[spawned_by] += 1
    return Threads(threads, _ints([*call, first[-1]]), _ints(delay_ps), child, children)


def decode_steps(
    ids: Sequence[str],
    first: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    accept_pmf: Sequence[float],
    drafts: int,
    seed: int,
) -> NDArray[np.int64]:
    """Steps from the first token to the last: one each, or as many accepted lengths as it takes to sum to the rest of the answer.

    Parameters
    ----------
    ids : sequence of str
        Of the trajectories; ``first`` says which calls are whose.
    first, output_tokens : int64 arrays
        As in `Calls`.
    accept_pmf, drafts, seed
        As in `compile_calls`: the only part of what it makes that depends on the seed.
    """
    rest = output_tokens - 1
    if drafts == 0:
        return rest
    cumulative = np.cumsum(accept_pmf)[:-1]
    steps = np.zeros_like(rest)
    for index, name in enumerate(ids):
        calls = slice(first[index], first[index + 1])
        ends = np.cumsum(rest[calls])
        begins = ends - rest[calls]
        # Call i owns the accepted lengths begins[i]:ends[i]: enough even if each step yields one token.
        drawn = _stream(seed, "decode_steps", name).random(int(ends[-1]))
        lengths = np.ones(len(drawn), np.int64)
        for below in cumulative:
            lengths += drawn >= below
        total = np.concatenate(([0], np.cumsum(lengths)))
        steps[calls] = np.searchsorted(total, total[begins] + rest[calls]) - begins
    return steps


def _stream(seed: int, purpose: str, trajectory_id: str) -> np.random.Generator:
    key = hashlib.blake2b(f"{purpose}\0{trajectory_id}".encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(key, "little")])
