"""What the sessions of a recording begin with in common, as a set's prefixes. Inputs: the first calls of sessions, in a journal's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.workload.trajectory import Prefix

if TYPE_CHECKING:
    from simulator.workload.journal import Recorded


def prefixes_of(calls: Sequence[Recorded]) -> tuple[tuple[Prefix, ...], dict[int, int]]:
    """The tree of prefixes, and by number of a call the one that its prompt begins with.

    A call says with which earlier first call its prompt shares how many tokens. That one's prompt is cut there; where it shares as much
    with a still earlier one, that one's is.
    """
    shares: dict[int, tuple[int, int]] = {}
    cuts: dict[int, set[int]] = {}
    for call in calls:
        if call.shares_with is None or not call.shared_tokens:
            continue
        owner, tokens = call.shares_with, call.shared_tokens
        while owner in shares and tokens <= shares[owner][1]:
            owner = shares[owner][0]
        shares[call.call] = owner, tokens
        cuts.setdefault(owner, set()).add(tokens)
    prefixes: list[Prefix] = []
    nodes: dict[tuple[int, int], int] = {}
    for owner in sorted(cuts):
        parent, above = (nodes[shares[owner]], shares[owner][1]) if owner in shares else (-1, 0)
        for tokens in sorted(cuts[owner]):
            nodes[owner, tokens] = parent = _added(prefixes, Prefix(tokens - above, parent))
            above = tokens
    begins = {call: nodes[share] for call, share in shares.items()}
    return tuple(prefixes), begins | {owner: nodes[owner, max(depths)] for owner, depths in cuts.items()}


def _added(prefixes: list[Prefix], prefix: Prefix) -> int:
    prefixes.append(prefix)
    return len(prefixes) - 1
