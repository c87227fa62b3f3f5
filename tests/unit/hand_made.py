"""Hand-made worlds and outputs for the tests of what is measured: pools, finished calls and counters, with no engine behind them."""

import numpy as np

from simulator.engine.world import (
    CALL_COLUMNS,
    ROLE_MIXED,
    SERIES_COLUMNS,
    TOTAL_COLUMNS,
    Fleet,
    Output,
    Pool,
    Sched,
    Stop,
    World,
)
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import StepLaw
from simulator.units import PS_PER_S
from simulator.workload.arrays import Calls, PrefixTree, single_threads

NONE = np.zeros(0, np.int64)
WINDOW_S, END_S, MAX_S = 100, 200, 1_000
TIMES = tuple(name for name in CALL_COLUMNS if name.endswith("_ps"))


def pool(role: int = ROLE_MIXED, workers: int = 2, ranks: int = 4, gpus_per_rank: int = 1, blocks: int = 1_000) -> Pool:
    """GPUs of the pool draw 100 W when idle; a rank has 64 seats."""
    power = PowerLaw(0, 0, 0, 0, 100_000, gpus_per_rank, NONE, 0, 0, 0, 0)
    return Pool(role, workers, ranks, blocks, 0, Sched(8_192, 64, 0, 1, 0, 0, 1, 1, 0, 1_000, 0), StepLaw(0, NONE, 0, 0, 0, 0, 0), power)


def fleet(*pools: Pool, agents: int = 2, **options: int) -> Fleet:
    """A fleet that starts at once."""
    return Fleet(pools or (pool(),), 16, 0, np.zeros(agents, np.int64), NONE, **options)


def world(*pools: Pool, agents: int = 2, **options: int) -> World:
    """The steady window is from 100 s to 200 s; every trajectory has ten calls."""
    return World(
        calls=Calls(*(NONE for _ in Calls._fields))._replace(first=np.arange(0, 40, 10)),
        threads=single_threads(np.zeros(1, np.int64)),
        tree=PrefixTree(*(NONE for _ in PrefixTree._fields)),
        fleet=fleet(*pools, agents=agents, **options),
        stop=Stop(WINDOW_S * PS_PER_S, 0, 0, 0, MAX_S * PS_PER_S, 0),
    )


def row(
    agent: int, send: float, first: float, last: float, prompt: int = 1_000, cached: int = 900, out: int = 11, **more: float
) -> list[int]:
    """One finished call; times in seconds, those of ``more`` by their names without ``_ps``. What is not given is -1 (never happened)."""
    times = {"send": send, "first": first, "last": last} | more
    values = dict.fromkeys(CALL_COLUMNS, 0) | dict.fromkeys(TIMES, -1) | {f"{k}_ps": round(v * PS_PER_S) for k, v in times.items()}
    values |= {"agent": agent, "prompt_tokens": prompt, "cached_tokens": cached, "output_tokens": out}
    return [values[name] for name in CALL_COLUMNS]


def output(*rows: list[int], end_s: float = END_S, pools: tuple[dict[str, int], ...] = ({},), **totals: int) -> Output:
    """What an engine might return: the calls, one mapping of counters a pool (``totals`` go to the first), and empty series of 1 s bins."""
    counters = [dict.fromkeys(TOTAL_COLUMNS, 0) | own for own in pools]
    counters[0] |= totals
    return Output(
        calls=np.array(rows, np.int64).reshape(-1, len(CALL_COLUMNS)),
        series=np.zeros((len(pools), int(end_s) + 1, len(SERIES_COLUMNS)), np.int64),
        bin_ps=PS_PER_S,
        totals=np.array([[own[name] for name in TOTAL_COLUMNS] for own in counters], np.int64),
        events=np.zeros((0, 8), np.int64),
        end_ps=round(end_s * PS_PER_S),
        plays_finished=3,
        calls_issued=len(rows),
    )
