"""The load: trajectories, their readers and generator, and their compiled arrays. In: files or parameters; out: flat arrays."""

from simulator.workload.compile import Compiled, compile_calls
from simulator.workload.fixed import fixed_set
from simulator.workload.load import load_trajectories
from simulator.workload.trajectory import Call, SubAgent, Trajectory, TrajectorySet

__all__ = ["Call", "Compiled", "SubAgent", "Trajectory", "TrajectorySet", "compile_calls", "fixed_set", "load_trajectories"]
