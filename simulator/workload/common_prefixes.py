"""What prompts of different trajectories begin with in common. Inputs: prompts as lists of ids, of block hashes or of messages.

A compressed radix tree of all prompts. Its runs that two trajectories pass become the `Prefix` nodes of a set; nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.workload.hash_tree import common_length
from simulator.workload.trajectory import Call, Prefix, Trajectory, prefix_depths


class _Run:
    """A run of ids between two branch points: whose it is, whether another trajectory has it too, and tokens to its end."""

    __slots__ = ("above", "after", "ids", "shared", "tokens", "trajectory")

    def __init__(self, above: _Run | None, ids: list[int], trajectory: int, tokens: int) -> None:
        self.above, self.ids, self.trajectory, self.tokens = above, ids, trajectory, tokens
        self.shared = False
        self.after: dict[int, _Run] = {}


class CommonPrefixes:
    """The prompts of a set while they are read.

    Attributes
    ----------
    reused_tokens : int
        What an infinite cache that all trajectories share would have reused so far, in recorded order and blocks of `block_tokens`; the
        last token of a prompt is never reused.
    """

    def __init__(self, block_tokens: int = 1) -> None:
        self.block_tokens = block_tokens
        self.reused_tokens = 0
        self._root = _Run(None, [], -1, 0)
        self._ends: list[tuple[int, _Run]] = []  # by prompt as read: its trajectory, and where it ends

    def add(self, trajectory: int, ids: list[int], tokens_at: Callable[[int], int]) -> None:
        """Adds the next prompt.

        Parameters
        ----------
        trajectory : int
            Number of the trajectory it belongs to.
        tokens_at : callable
            Tokens of the prompt's first so many ids; of all of them: its length.
        """
        run, depth = self._root, 0
        while depth < len(ids) and ids[depth] in run.after:
            below = run.after[ids[depth]]
            same = common_length(below.ids, ids[depth : depth + len(below.ids)])
            depth += same
            if same < len(below.ids):
                below = _split(run, below, same, tokens_at(depth))
            run = below
            run.shared |= run.trajectory != trajectory
            run.tokens = min(run.tokens, tokens_at(depth))
        prompt = tokens_at(len(ids))
        self.reused_tokens += max(0, min(tokens_at(depth), prompt - 1)) // self.block_tokens * self.block_tokens
        if depth < len(ids):
            run.after[ids[depth]] = run = _Run(run, ids[depth:], trajectory, prompt)
        self._ends.append((trajectory, run))

    def prefixes(self) -> tuple[tuple[Prefix, ...], list[int | None]]:
        """The tree of what trajectories share, and by prompt (as added) the index of its longest prefix."""
        found: list[Prefix] = []
        index: dict[int, int] = {}  # by id() of a run: its prefix

        def number(run: _Run) -> int:
            path: list[_Run] = []
            while id(run) not in index and run.above is not None:
                path.append(run)
                run = run.above
            place = index.get(id(run), -1)
            for below in reversed(path):
                before = below.above.tokens if below.above is not None else 0
                if below.tokens > before:  # else two prompts of different length have one tail: nothing to share beyond the shorter
                    found.append(Prefix(below.tokens - before, place))
                    place = len(found) - 1
                index[id(below)] = place
            return place

        named: list[int | None] = []
        for _, run in self._ends:
            while run.above is not None and not run.shared:
                run = run.above
            place = number(run)
            named.append(place if place >= 0 else None)
        return tuple(found), named


def block_ends(prompt_tokens: int, size: int) -> Callable[[int], int]:
    """Tokens of the first so many blocks of a prompt, the last of which may be shorter."""
    return lambda blocks: min(blocks * size, prompt_tokens)


def with_prefixes(trajectories: Sequence[Trajectory], common: CommonPrefixes) -> tuple[tuple[Trajectory, ...], tuple[Prefix, ...]]:
    """Trajectories whose prompts were added call by call, with their prefixes where these are longer than what a call keeps."""
    prefixes, named = common.prefixes()
    depths, place = prefix_depths(prefixes), 0
    found: list[Trajectory] = []
    for trajectory in trajectories:
        calls = [_prefixed(call, named[place + number], depths) for number, call in enumerate(trajectory.calls)]
        place += len(calls)
        found.append(replace(trajectory, calls=tuple(calls)))
    return tuple(found), prefixes


def _prefixed(call: Call, prefix: int | None, depths: Sequence[int]) -> Call:
    return call if prefix is None or depths[prefix] <= call.kept_tokens else replace(call, prefix=prefix)


def _split(above: _Run, below: _Run, length: int, tokens: int) -> _Run:
    """Cuts a run in two and returns the upper part; the lower one stays the same object, for prompts end there."""
    upper = _Run(above, below.ids[:length], below.trajectory, tokens)
    upper.shared = below.shared
    above.after[upper.ids[0]] = upper
    below.ids, below.above = below.ids[length:], upper
    upper.after[below.ids[0]] = below
    return upper
