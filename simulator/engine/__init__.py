"""The two engines: arrays in, arrays out. `reference` is the specification, `kernel` the fast twin; they write equal event logs."""

from simulator.engine.kernel import KernelRun, simulate_kernel
from simulator.engine.reference import simulate_reference
from simulator.engine.world import Fleet, Output, Sched, Stop, World

__all__ = ["Fleet", "KernelRun", "Output", "Sched", "Stop", "World", "simulate_kernel", "simulate_reference"]
