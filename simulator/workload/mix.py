"""Mixes trajectory sets by weight. Inputs: sets, their weights and a seed; what is drawn from each stands in the provenance."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.errors import Mistake, UserError
from simulator.workload.operations import THEN
from simulator.workload.shared import pruned, side_by_side
from simulator.workload.trajectory import QUALITIES, Trajectory, TrajectorySet


def mix(parts: Sequence[tuple[TrajectorySet, float]], trajectories: int | None = None, seed: int = 0) -> TrajectorySet:
    """A set drawn from several, as many trajectories from each as its weight says, in an order drawn by the seed.

    A set gives each of its trajectories once before it gives one again. Arrivals are left out: those of different recordings do not add
    up to one. What the prompts of a set begin with in common stays with the trajectories of that set.

    Parameters
    ----------
    parts : sequence of (TrajectorySet, weight)
    trajectories : int, optional
        In all; the trajectories of all sets together when left out.

    Raises
    ------
    UserError
        When a weight or the count is out of range, or the sets differ in history.
    """
    count = sum(len(found.trajectories) for found, _ in parts) if trajectories is None else trajectories
    _refuse_bad_mix(parts, count, seed)
    shares = _apportioned([weight for _, weight in parts], count)
    prefixes, moved = side_by_side([found for found, _ in parts])
    names = [found.name for found, _ in parts]
    drawn: list[Trajectory] = []
    for number, (own, share) in enumerate(zip(moved, shares, strict=True)):
        prefix = names[number] if names.count(names[number]) == 1 else f"{names[number]}.{number + 1}"
        order = np.random.default_rng([seed, 1, number]).permutation(len(own))
        for place in range(share):
            again, within = divmod(place, len(order))
            trajectory = own[order[within]]
            name = f"{prefix}/{trajectory.id}" + (f"#{again + 1}" if again else "")
            drawn.append(replace(trajectory, id=name, arrival_s=None))
    shuffled = [drawn[place] for place in np.random.default_rng([seed, 0]).permutation(len(drawn))]
    return pruned(
        TrajectorySet("_".join(dict.fromkeys(names)), parts[0][0].history, 0, tuple(shuffled), _mixed(parts, shares, seed), prefixes)
    )


def _refuse_bad_mix(parts: Sequence[tuple[TrajectorySet, float]], count: int, seed: int) -> None:
    mistakes = [
        Mistake(found.name, "weight", f"{weight:g}", "more than 0") for found, weight in parts if not (math.isfinite(weight) and weight > 0)
    ]
    if not parts:
        mistakes.append(Mistake("mix", "sets", "none", "at least one"))
    for name, value, least in (("trajectories", count, 1), ("seed", seed, 0)):
        if value < least:
            mistakes.append(Mistake("mix", name, str(value), f"at least {least}"))
    histories = {found.history for found, _ in parts}
    if len(histories) > 1:
        hint = "prompts with recorded and with generated answers reuse differently"
        mistakes.append(Mistake("mix", "history", ", ".join(sorted(histories)), "sets of one history", hint))
    if mistakes:
        raise UserError(mistakes)


def _apportioned(weights: Sequence[float], count: int) -> list[int]:
    """Whole shares of `count` by weight: rounded down, the rest by largest remainder."""
    exact = [weight / sum(weights) * count for weight in weights]
    shares = [math.floor(share) for share in exact]
    for place in sorted(range(len(exact)), key=lambda place: shares[place] - exact[place])[: count - sum(shares)]:
        shares[place] += 1
    return shares


def _mixed(parts: Sequence[tuple[TrajectorySet, float]], shares: Sequence[int], seed: int) -> dict[str, str]:
    said = []
    for (found, weight), share in zip(parts, shares, strict=True):
        about = THEN.join(filter(None, [found.provenance.get("origin", "origin not said"), found.provenance.get("operations", "")]))
        said.append(f"{share} of {found.name}, weight {weight:g} ({about})")
    provenance = {"origin": f"mix of {'; '.join(said)}", "operations": f"mix seed={seed}"}
    qualities = [found.provenance["quality"] for found, _ in parts if "quality" in found.provenance]
    licences = dict.fromkeys(found.provenance["licence"] for found, _ in parts if "licence" in found.provenance)
    return {
        **provenance,
        **({"quality": max(qualities, key=QUALITIES.index)} if qualities else {}),
        **({"licence": "; ".join(licences)} if licences else {}),
    }
