"""The order in which an agent plays trajectories."""

import math

import numpy as np
import pytest

from simulator.engine.world import play_stride


def test_a_stride_shares_no_factor_with_the_trajectories() -> None:
    for trajectories in range(1, 2_000):
        assert 0 < play_stride(trajectories) <= trajectories
        assert math.gcd(play_stride(trajectories), trajectories) == 1


@pytest.mark.parametrize("trajectories", [10, 64, 100, 400, 1_000])
def test_first_plays_lie_far_apart(trajectories: int) -> None:
    """After any number of plays up to 13 the closest two are a quarter as far apart as if all were spread evenly, or more."""
    for plays in range(2, min(13, trajectories) + 1):
        at = np.sort(np.arange(plays) * play_stride(trajectories) % trajectories)
        assert np.diff(at, append=at[0] + trajectories).min() >= trajectories // plays / 4
