"""What the page computes, in processes that keep the kernel compiled and loads warm, with answers remembered. Inputs are scenarios."""

import asyncio
import multiprocessing
import signal
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from typing import Any

from simulator.capacity.build import load_profiles
from simulator.capacity.hold import capacity, compile_kernel
from simulator.capacity.results import Answer
from simulator.capacity.scenario import Scenario
from simulator.capacity.studies import key_of, seek
from simulator.capacity.study import StudyPoint
from simulator.capacity.sweep_key import point_key

REMEMBERED = 256
"""Answers, points and figures that are kept; the least recently asked goes first."""
SPEEDS_TOK_S = (10.0, 20.0, 40.0, 60.0, 100.0)
"""Floors of the page's frontier; `compare --study frontier` has more."""


def answer_of(scenario: Scenario) -> Answer:
    """What the scenario's deployment holds, in this process."""
    return capacity(scenario, jobs=1)


PROCESSES = 2


def two_processes() -> Executor:
    """As many systems as a page compares are sought at once; Ctrl-C is the parent's to hear."""
    return ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))


class Work:
    """Computes in an executor and remembers by what a result follows from: scenario, profiles, load and code."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self.start = start
        self.executor = start()
        self._known: OrderedDict[str, Any] = OrderedDict()
        self.computed = 0
        """Results that were not remembered."""

    async def run(self, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result; a key that is known is not computed again. An empty key is never kept."""
        if key and key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        self.computed += 1
        try:
            found = await asyncio.wrap_future(self.executor.submit(function, *arguments))
        except BrokenExecutor:
            self.executor = self.start()
            raise
        if key:
            self._known[key] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def answer(self, scenario: Scenario) -> Answer:
        """What a deployment holds."""
        found: Answer = await self.run("answer " + point_key(scenario, "capacity", load_profiles(scenario)), answer_of, scenario)
        return found

    async def point(self, scenario: Scenario, speed_tok_s: float) -> StudyPoint:
        """A point of the frontier; the scenario has that floor already."""
        asked = ("frontier", "speed_tok_s", speed_tok_s, scenario)
        found: StudyPoint = await self.run(key_of(*asked), seek, *asked)
        return found

    async def warm(self, scenarios: Sequence[Scenario]) -> None:
        """Compiles the kernel in one process, where it is kept on disk, then reads the loads in all of them."""
        for scenario in scenarios:
            await self.run("", compile_kernel, scenario)
        await asyncio.gather(*(self.run("", compile_kernel, scenario) for scenario in reversed(scenarios)))

    def close(self) -> None:
        """Ends the processes, whatever they are at, and waits for the thread that minds them: an end of Python beside it trips at times."""
        for child in multiprocessing.active_children():
            child.terminate()
        self.executor.shutdown(cancel_futures=True)
