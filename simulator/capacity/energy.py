"""Energy per piece of work, and power over time, on the four named bases. Inputs are a measured window and a system profile.

All energy of the window counts, that of idle GPUs too: it is what the set-up drew while the work was done.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simulator.capacity.metrics import Window
from simulator.capacity.results import Energy, PowerBases
from simulator.hardware.power import BASES, watts_per_gpu
from simulator.hardware.system import System

MILLION = 1e6


def energy_of(window: Window, watts: PowerBases) -> Energy:
    """Joules per call, trajectory and million tokens of what finished in the window; nan where nothing did.

    Parameters
    ----------
    window : Window
    watts : PowerBases
        Mean watts per GPU over the window.
    """

    def per(count: float) -> PowerBases:
        joules = {basis: getattr(watts, basis) * window.gpus * window.window_s for basis in BASES}
        return PowerBases(**{basis: j / count if count else float("nan") for basis, j in joules.items()})

    return Energy(
        call_j=per(window.finished_calls),
        trajectory_j=per(window.finished_trajectories),
        million_output_tokens_j=per(window.finished_output_tokens / MILLION),
        million_tokens_j=per(window.finished_tokens / MILLION),
    )


def power_over_time(system: System, accelerator_w: NDArray[np.float64], gpus: int) -> Mapping[str, NDArray[np.float64]]:
    """Watts of a whole set-up, its share of all else in node or rack included where the basis counts it: basis -> shape (bins,).

    Parameters
    ----------
    system : System
    accelerator_w : float64 array, shape (bins,)
        Watts per GPU on the accelerator basis.
    gpus : int
    """
    levels = [watts_per_gpu(system, watts) for watts in accelerator_w.tolist()]
    return {basis: gpus * np.array([level[basis] for level in levels]) for basis in BASES}
