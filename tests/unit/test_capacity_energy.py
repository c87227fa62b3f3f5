"""Energy per piece of work and power over time: joules of the window, idle ones too, over what finished in it, on four bases."""

import numpy as np
import pytest
from hand_made import output, row, world

from simulator.capacity.energy import energy_of, power_over_time
from simulator.capacity.metrics import joined, measure
from simulator.capacity.results import PowerBases
from simulator.hardware.load import load_system
from simulator.hardware.power import BASES, watts_per_gpu

H200 = load_system("hgx_h200")
WATTS = PowerBases(400.0, 700.0, 1275.0, 960.0)


def test_joules_of_the_window_over_what_finished_in_it() -> None:
    """8 GPUs at 400 W for 100 s are 320 kJ. Of four calls three finish in the window, each a tenth of its trajectory."""
    calls = [row(0, 90, 95, 99), row(0, 90, 95, 110, prompt=50), row(1, 120, 121, 130, prompt=100), row(1, 140, 141, 150, out=1)]
    window = measure(world(), output(*calls))
    assert (window.finished_calls, window.finished_trajectories) == (3, pytest.approx(0.3))
    energy = energy_of(window, WATTS)
    assert energy.call_j.accelerator == pytest.approx(320_000 / 3)
    assert energy.trajectory_j.accelerator == pytest.approx(320_000 / 0.3)
    assert energy.million_output_tokens_j.accelerator == pytest.approx(320_000 / 23 * 1e6)
    assert energy.million_tokens_j.facility == pytest.approx(768_000 / (23 + 50 + 100 + 1_000) * 1e6)
    assert energy.call_j.tdp / energy.call_j.accelerator == pytest.approx(700 / 400)


def test_seeds_add_up() -> None:
    one = measure(world(), output(row(0, 110, 111, 120)))
    both = joined([one, one])
    assert (both.finished_calls, both.finished_trajectories) == (2, pytest.approx(0.2))
    assert energy_of(both, WATTS) == energy_of(one, WATTS)


def test_nothing_finished_has_no_energy_each() -> None:
    energy = energy_of(measure(world(), output()), WATTS)
    assert np.isnan(energy.call_j.accelerator)
    assert np.isnan(energy.million_tokens_j.facility)


def test_power_over_time_is_that_of_the_whole_set_up_on_each_basis() -> None:
    """Only the accelerator and the facility basis follow the load."""
    levels = power_over_time(H200, np.array([115.0, 600.0]), 8)
    assert list(levels) == list(BASES)
    for place, watts in enumerate((115.0, 600.0)):
        assert {basis: level[place] / 8 for basis, level in levels.items()} == pytest.approx(watts_per_gpu(H200, watts))
    assert levels["facility"].tolist() == pytest.approx([8 * (115 + 350) * 1.28, 8 * (600 + 350) * 1.28])
    assert levels["tdp"].tolist() == [5600, 5600]
