"""The rule of KV growth, counted out token by token beside the formula."""

import numpy as np
import pytest

from simulator.engine.growth import first_growth, growth_period
from tests.theory.worlds import SCHED


@pytest.mark.parametrize("accept_milli", [1000, 1700, 2500])
@pytest.mark.parametrize("lookahead", [0, 1, 3])
@pytest.mark.parametrize("block", [4, 16])
def test_a_call_takes_a_block_before_mean_progress_and_lookahead_no_longer_fit(accept_milli: int, lookahead: int, block: int) -> None:
    sched = SCHED._replace(accept_milli=accept_milli, lookahead=lookahead, drafts=3)
    found = first_growth(sched, block)
    for slack in range(block):
        step = 1
        while (step - 1) * accept_milli + 1000 * (1 + lookahead) <= 1000 * slack:
            step += 1
        assert found[slack] == min(step, growth_period(sched, block))


def test_without_drafts_one_block_for_each_block_of_steps() -> None:
    assert growth_period(SCHED, 16) == 16
    assert np.array_equal(first_growth(SCHED, 16), np.maximum(1, np.arange(16) + 1))
