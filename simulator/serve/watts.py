"""Energy and watts of a served fleet's GPUs at any time, from the energy of its steps and idle watts between. Inputs are its events."""

from collections import deque

from simulator.engine.world import EVENT_STEP, Fleet
from simulator.serve.fleet import Instant
from simulator.units import PS_PER_S

AVERAGED_PS = PS_PER_S
"""A power reading is the mean of the last second, as NVML gives it."""


class WorkerMeter:
    """The GPUs of one worker: joules since the start, exact at any time up to now and back to about a second before the last step."""

    def __init__(self, idle_w: float) -> None:
        self.idle_w = idle_w
        self.past: deque[tuple[int, float]] = deque([(0, 0.0)])
        """(time_ps, joules until then) wherever the draw changes, the latest last; the last may lie ahead: the end of a step."""

    def step(self, start_ps: int, duration_ps: int, joules: float) -> None:
        before = self.joules(start_ps)
        self.past.append((start_ps, before))
        self.past.append((start_ps + duration_ps, before + joules))
        while len(self.past) > 2 and self.past[1][0] <= start_ps - AVERAGED_PS:
            self.past.popleft()

    def joules(self, time_ps: int) -> float:
        """Energy from the start to a time."""
        last_ps, last_j = self.past[-1]
        if time_ps >= last_ps:
            return last_j + self.idle_w * (time_ps - last_ps) / PS_PER_S
        after = last_ps, last_j
        for before in reversed(self.past):
            if before[0] <= time_ps:
                share = (time_ps - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
                return before[1] + (after[1] - before[1]) * share
            after = before
        return self.past[0][1]

    def watts(self, time_ps: int) -> float:
        """Mean draw over the second before a time (or since the start, where that is less)."""
        since_ps = max(0, time_ps - AVERAGED_PS)
        if time_ps <= since_ps:
            return self.idle_w
        return (self.joules(time_ps) - self.joules(since_ps)) * PS_PER_S / (time_ps - since_ps)


class PowerMeter:
    """All GPUs of a fleet; those of a worker draw alike."""

    def __init__(self, fleet: Fleet) -> None:
        self.workers: list[WorkerMeter] = []
        self.gpus: list[int] = []
        """How many each worker has."""
        for pool in fleet.pools:
            gpus = pool.ranks * pool.power.gpus_per_rank
            for _ in range(pool.workers):
                self.workers.append(WorkerMeter(gpus * pool.power.idle_mw / 1000))
                self.gpus.append(gpus)

    def observe(self, instant: Instant) -> None:
        for time_ps, kind, worker, _, _, duration_ps, energy_uj, _ in instant.events:
            if kind == EVENT_STEP:
                self.workers[worker].step(time_ps, duration_ps, energy_uj / 1e6)

    def readings(self, time_ps: int) -> list[tuple[float, float]]:
        """Watts and joules of each GPU."""
        found = []
        for worker, gpus in zip(self.workers, self.gpus, strict=True):
            found += [(worker.watts(time_ps) / gpus, worker.joules(time_ps) / gpus)] * gpus
        return found
