"""The load: trajectories, their readers and generator, and their compiled arrays. In: files or parameters; out: flat arrays."""

from simulator.workload.compile import Compiled, compile_calls
from simulator.workload.fixed import fixed_set
from simulator.workload.load import load_trajectories
from simulator.workload.trajectory import Call, Prefix, SubAgent, Trajectory, TrajectorySet

__all__ = ["Call", "Compiled", "Prefix", "SubAgent", "Trajectory", "TrajectorySet", "compile_calls", "fixed_set", "load_trajectories"]
