"""How the groups of uncertain fields are moved: a Latin hypercube, and one group at a time. Inputs are the profiles of a scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from zlib import crc32

import numpy as np

from simulator.capacity.build import load_profiles
from simulator.capacity.scenario import Scenario
from simulator.hardware.quality import Field
from simulator.hardware.spread import Group, deviations, group_of

Draw = Mapping[Group, float]
"""Standard deviations by which each group is moved to its bad side; a group that is not named stays."""

Z90 = NormalDist().inv_cdf(0.9)
"""How far one group is moved at a time: to its 10th and its 90th percentile."""


@dataclass(frozen=True)
class Moving:
    """A group that can err, and its fields, each once however many pools or tiers use it."""

    group: Group
    fields: tuple[Field, ...]


def moving_groups(scenario: Scenario) -> tuple[Moving, ...]:
    """The groups of a scenario's profiles that can err, in the order in which they are read."""
    found: dict[Group, dict[str, Field]] = {}

    def see(subject: str, field: Field) -> Field:
        if any(deviations(field)):
            found.setdefault(group_of(subject, field), {}).setdefault(field.name, field)
        return field

    load_profiles(scenario, see)
    return tuple(Moving(group, tuple(fields.values())) for group, fields in found.items())


def latin_hypercube(groups: Sequence[Group], samples: int, seed: int) -> list[dict[Group, float]]:
    """Normal scores of every group, stratified: each of ``samples`` equal slices of probability holds one score of each group.

    A group's scores follow from its name and the seed alone: the same in every question that asks for as many samples, whatever
    else errs beside it.
    """
    columns = {group: _scores(group, samples, seed) for group in groups}
    return [{group: scores[row] for group, scores in columns.items()} for row in range(samples)]


def _scores(group: Group, samples: int, seed: int) -> list[float]:
    rng = np.random.default_rng([seed, crc32("|".join(group).encode())])
    shares = (rng.permutation(samples) + rng.random(samples)) / samples
    normal = NormalDist()
    return [normal.inv_cdf(min(max(share, 1e-9), 1 - 1e-9)) for share in shares.tolist()]
