"""Tables for finished calls that are longer than what was reckoned with."""

import numpy as np

from simulator.engine import simulate_kernel
from simulator.engine.kernel import call_rows
from simulator.workload.trajectory import Call
from tests.oracle.test_edges import LAW
from tests.theory.worlds import SCHED, column, pool_of, world_of


def test_more_calls_than_rows_with_more_agents_than_calls_that_the_stop_rule_asks_for() -> None:
    agents = 70_000
    pool = pool_of(LAW, SCHED._replace(token_budget=1000, max_seqs=1000), 10**4)
    world = world_of([[Call(0, 1, 1)]], np.zeros(agents, np.int64), [pool])
    world = world._replace(stop=world.stop._replace(min_plays=0, min_window_ps=10**14, max_ps=10**14, max_plays_per_agent=0))
    assert call_rows(world) == 2**16 < agents
    output = simulate_kernel(world)
    assert len(output.calls) >= 2 * agents
    assert np.array_equal(np.unique(column(output, "agent")), np.arange(agents))
