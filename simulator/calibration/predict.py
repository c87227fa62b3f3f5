"""A row predicted: the benchmark played on the kernel, and the means that its client would have reported. Inputs are evidence rows."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from simulator.calibration.evidence import Row
from simulator.calibration.load import LoadKey, compiled_load, load_key
from simulator.calibration.serving import Serving, ServingKey, lacking, serve, serving_key
from simulator.capacity.context import context_limit
from simulator.capacity.fleet import engine_fleet
from simulator.capacity.pool_window import pool_windows
from simulator.engine.kernel import simulate_kernel
from simulator.engine.world import Output, Stop, World, call_columns
from simulator.errors import UserError
from simulator.units import PS_PER_S, to_s
from simulator.workload.compile import Compiled

SEED = 1
FOREVER_S = 1e6
PS_PER_MS = PS_PER_S // 1000


@dataclass(frozen=True)
class Prediction:
    """What the simulation says of a row, in the row's quantities; or why it says nothing (``lacks``, then all are NaN)."""

    ttft_ms: float
    tpot_ms: float
    tok_s_gpu: float
    watts: float
    lacks: str = ""


def no_prediction(why: str) -> Prediction:
    """A row that cannot be predicted."""
    return Prediction(math.nan, math.nan, math.nan, math.nan, why)


Progress = Callable[[str], None]


def predict_rows(rows: Iterable[Row], progress: Progress | None = None, seed: int = SEED) -> dict[str, Prediction]:
    """Predictions by row id. Rows of one deployment share its loaded profile, rows of one load its compiled calls."""
    servings: dict[ServingKey, Serving | str] = {}
    loads: dict[tuple[LoadKey, int], Compiled] = {}
    found: dict[str, Prediction] = {}
    for number, row in enumerate(rows, start=1):
        found[row.id] = _predict(row, servings, loads, seed)
        if progress and number % 100 == 0:
            progress(f"{number} rows predicted")
    return found


def _predict(row: Row, servings: dict[ServingKey, Serving | str], loads: dict[tuple[LoadKey, int], Compiled], seed: int) -> Prediction:
    if why := lacking(row):
        return no_prediction(why)
    key = serving_key(row)
    if key not in servings:
        try:
            servings[key] = serve(key)
        except UserError as error:
            servings[key] = str(error.mistakes[0])
    serving = servings[key]
    if isinstance(serving, str):
        return no_prediction(serving)
    limit, _ = context_limit(serving.deployment)
    load = (load_key(row, serving.deployment), limit)
    if row.isl + row.osl > limit:
        return no_prediction(f"a call of {row.isl + row.osl:,} tokens does not fit the KV pool of a rank, {limit:,}")
    if load not in loads:
        loads[load] = compiled_load(load[0], limit, seed)
    return play_row(row, serving, loads[load], seed)


def play_row(row: Row, serving: Serving, load: Compiled, seed: int) -> Prediction:
    """Plays the load of a row to its end and takes the means (or medians) over all its calls, first burst and last drain included."""
    world = row_world(row, serving, load, seed)
    return means(serving, simulate_kernel(world), row.statistic)


def row_world(row: Row, serving: Serving, load: Compiled, seed: int) -> World:
    """All clients start at once; whoever has its answer sends the next of the calls that are left, as the benchmark's client does."""
    calls = len(load.calls.prompt_tokens)
    fleet = engine_fleet(
        serving.deployment,
        serving.pools,
        start_ps=np.zeros(row.concurrency, dtype=np.int64),
        order=np.arange(calls) if row.lengths_seed else np.random.default_rng([seed, 0]).permutation(calls).astype(np.int64),
    )
    stop = Stop(
        window_ps=0,
        min_window_ps=0,
        min_plays=calls + 1,
        min_agent_plays=0,
        max_ps=int(FOREVER_S * PS_PER_S),
        max_plays_per_agent=0,
        max_plays=calls,
    )
    return World(load.calls, load.threads, load.tree, fleet, stop)


def means(serving: Serving, output: Output, statistic: str = "mean") -> Prediction:
    """The means of a played load, or the medians of its TTFT and TPOT; watts are those of the GPUs, over the whole run.

    A client waits for the front end once a call.
    """
    calls = call_columns(output.calls)
    first, last, sent, tokens = calls["first_ps"], calls["last_ps"], calls["send_ps"], calls["output_tokens"]
    several = tokens > 1
    rounds = len(sent) / len(np.unique(calls["agent"]))
    end_s = to_s(float(last.max())) + rounds * serving.request_s
    gpus = serving.deployment.gpus
    middle = np.median if statistic == "median" else np.mean
    return Prediction(
        ttft_ms=float(middle(first - sent)) / PS_PER_MS + 1000 * serving.request_s,
        tpot_ms=float(middle((last - first)[several] / (tokens[several] - 1))) / PS_PER_MS if several.any() else float("nan"),
        tok_s_gpu=float((calls["prompt_tokens"] + tokens).sum()) / end_s / gpus,
        watts=sum(pool.energy_j for pool in pool_windows(serving.pools, output, end_s)) / end_s / gpus,
    )
