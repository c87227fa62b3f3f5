"""agentwatt: how many concurrent agents a serving system holds at an SLO, and per megawatt.

The public API is the names in ``__all__``; each is loaded when first used, so that importing the package costs nothing.

Examples
--------
A question, with calls that are all alike so that it is quick:

>>> from simulator import find_capacity, frame, load_scenario, play, run, sweep
>>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "search.ceiling": 8, "seeds": 1}
>>> asked = load_scenario("capacity_h200", small)
>>> answer = find_capacity(asked, jobs=1)
>>> answer.system, answer.interval[0] <= answer.agents_held <= answer.interval[1]
('hgx_h200', True)
>>> run(asked, agents=answer.agents_held).held
True

Every call, as a DataFrame, and as the engine returns it:

>>> calls = play(asked, agents=4)
>>> len(frame(calls)) == len(calls.calls)
True

The same world on both engines, the reference without a look at its invariants after every event:

>>> from simulator import simulate_kernel, simulate_reference
>>> from simulator.capacity.build import build_world, prepare
>>> world = build_world(prepare(asked, seed=1), agents=1)
>>> bool((simulate_kernel(world).calls == simulate_reference(world, verify=False).calls).all())
True

What serves and what is asked:

>>> from simulator import load_deployment, load_model, load_system, load_trajectories
>>> load_system("hgx_h200").gpus, load_model("glm_5").layers, load_deployment("hgx_h200_v4pro_20tps").gpus
(8, 78, 8)
>>> len(load_trajectories("agentperf_like").trajectories)
400

Bad input says what is wrong:

>>> load_system("hgx_h20")  # doctest: +ELLIPSIS
Traceback (most recent call last):
simulator.errors.UserError: hardware_profiles/systems: system; found 'hgx_h20'; ... did you mean ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.capacity.comparison import compare
    from simulator.capacity.hold import capacity as find_capacity
    from simulator.capacity.point import play, run
    from simulator.capacity.scenario import Scenario
    from simulator.capacity.scenario_file import load_scenario
    from simulator.capacity.sweep import sweep
    from simulator.engine.kernel import simulate_kernel
    from simulator.engine.reference import simulate_reference
    from simulator.errors import UserError
    from simulator.hardware.load import load_deployment, load_model, load_system
    from simulator.report.frame import frame
    from simulator.report.frames import calls_frame
    from simulator.workload.load import load_trajectories

__all__ = [
    "Scenario",
    "UserError",
    "calls_frame",
    "compare",
    "find_capacity",
    "frame",
    "load_deployment",
    "load_model",
    "load_scenario",
    "load_system",
    "load_trajectories",
    "play",
    "run",
    "simulate_kernel",
    "simulate_reference",
    "sweep",
]

_PLACES = {
    "Scenario": ("simulator.capacity.scenario", "Scenario"),
    "UserError": ("simulator.errors", "UserError"),
    "calls_frame": ("simulator.report.frames", "calls_frame"),
    "compare": ("simulator.capacity.comparison", "compare"),
    # Not `capacity`: that name is the subpackage's, which importing any part of it would put in the function's place.
    "find_capacity": ("simulator.capacity.hold", "capacity"),
    "frame": ("simulator.report.frame", "frame"),
    "load_deployment": ("simulator.hardware.load", "load_deployment"),
    "load_model": ("simulator.hardware.load", "load_model"),
    "load_scenario": ("simulator.capacity.scenario_file", "load_scenario"),
    "load_system": ("simulator.hardware.load", "load_system"),
    "load_trajectories": ("simulator.workload.load", "load_trajectories"),
    "play": ("simulator.capacity.point", "play"),
    "run": ("simulator.capacity.point", "run"),
    "simulate_kernel": ("simulator.engine.kernel", "simulate_kernel"),
    "simulate_reference": ("simulator.engine.reference", "simulate_reference"),
    "sweep": ("simulator.capacity.sweep", "sweep"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
