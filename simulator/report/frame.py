"""One call that makes a pandas table of any result. Inputs are what the public functions return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.capacity.answers_json import answer_json, summary_json
from simulator.capacity.results import Answer, Comparison, Summary
from simulator.capacity.sweep import Sweep
from simulator.engine.world import Output
from simulator.report.frames import calls_frame, flat_frame
from simulator.report.sweep_frame import sweep_frame

if TYPE_CHECKING:
    import pandas as pd


def frame(found: Answer | Comparison | Summary | Sweep | Output) -> pd.DataFrame:
    """A result as a table.

    Parameters
    ----------
    found : Answer, Comparison, Summary, Sweep or Output
        As `find_capacity`, `compare`, `run`, `sweep` and `play` return them.

    Returns
    -------
    DataFrame
        One row for an answer or an operating point, one for each answer of a comparison, each point of a sweep, each finished call of an
        output. Columns are the keys of `--json`, nested ones joined by ``_`` (``agents_per_mw_accelerator``).

    Examples
    --------
    >>> from simulator import frame, load_scenario, run
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> table = frame(run(load_scenario("capacity_h200", small), agents=4))
    >>> table[["system", "agents", "limiter"]].values.tolist()
    [['hgx_h200', 4, 'prefill_compute']]
    """
    if isinstance(found, Sweep):
        return sweep_frame(found)
    if isinstance(found, Output):
        return calls_frame(found)
    if isinstance(found, Comparison):
        return flat_frame(map(answer_json, found.answers)).infer_objects()
    return flat_frame([answer_json(found) if isinstance(found, Answer) else summary_json(found)]).infer_objects()
