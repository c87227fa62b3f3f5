"""Sub-agents: when children start, and that a parent goes on its tool's time after the last of all below it has ended."""

from collections.abc import Callable

import pytest

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.workload.trajectory import Call, SubAgent
from tests.theory.worlds import MS, SCHED, at, column, constant_law, pool_of, world_of

Engine = Callable[[World], Output]


@pytest.fixture(params=[simulate_kernel, simulate_reference], ids=["kernel", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


def times_ms(output: Output) -> dict[int, tuple[int, int]]:
    """Call index -> (sent, ended), in ms."""
    send, last = column(output, "send_ps"), column(output, "last_ps")
    assert (send % MS == 0).all()
    assert (last % MS == 0).all()
    return {int(call): (int(s) // MS, int(e) // MS) for call, s, e in zip(column(output, "call"), send, last, strict=True)}


def test_a_parent_waits_for_the_last_of_its_children_and_then_for_its_tool(engine: Engine) -> None:
    """Steps of 10 ms in which everybody takes part. Call 0 (4 tokens) ends at 40 and spawns three: at once, 100 and 5 ms later.

    Child a (calls 2, 3): steps begin at 40, so call 2 of 3 tokens ends at 70; its tool takes 30; call 3 of 1 token.
    Child b (call 4): sent at 140, 6 tokens, ends at 200. Child c (call 5): sent at 45, in the step at 50, 2 tokens: ends at 70.
    Call 1 is sent 25 ms after b.
    """
    pool = pool_of(constant_law(10 * MS), SCHED._replace(max_seqs=8))
    calls = [Call(0, 10, 4, 0.025), Call(10, 10, 1), Call(0, 10, 3, 0.03), Call(10, 10, 1), Call(0, 10, 6), Call(0, 10, 2)]
    agents = [SubAgent(0, 2, 0.0), SubAgent(0, 4, 0.1), SubAgent(0, 5, 0.005)]
    output = engine(world_of([(calls, agents)], at(0), [pool]))
    assert times_ms(output) == {0: (0, 40), 2: (40, 70), 3: (100, 110), 4: (140, 200), 5: (45, 70), 1: (225, 235)}
    assert dict(zip(column(output, "call").tolist(), column(output, "thread").tolist(), strict=True)) == {
        0: 0,
        1: 0,
        2: 1,
        3: 1,
        4: 2,
        5: 3,
    }


def test_joins_nest(engine: Engine) -> None:
    """A child that spawns: its own tool runs after its child, the root's after both. The next play starts a tool after the whole play.

    Call 0 ends at 10. Child a (call 1) 10-20 spawns call 3 after 7: sent 27, step at 27 (idle), ends 37; a's tool 4; call 2 41-51.
    The root has no further call: its tool of 9 starts at 51, and the next play at 60.
    """
    pool = pool_of(constant_law(10 * MS), SCHED._replace(max_seqs=8))
    calls = [Call(0, 10, 1, 0.009), Call(0, 10, 1, 0.004), Call(10, 10, 1), Call(0, 10, 1)]
    agents = [SubAgent(0, 1), SubAgent(1, 3, 0.007)]
    output = engine(world_of([(calls, agents)], at(0), [pool], plays=2))
    first = output._replace(calls=output.calls[column(output, "play") == 0])
    assert times_ms(first) == {0: (0, 10), 1: (10, 20), 3: (27, 37), 2: (41, 51)}
    second = output._replace(calls=output.calls[column(output, "play") == 1])
    assert times_ms(second) == {call: (sent + 60, ended + 60) for call, (sent, ended) in times_ms(first).items()}


def test_children_share_the_spawning_prompt_with_their_parent(engine: Engine) -> None:
    """Two children that extend call 0 find its 4 full blocks, and do not wait for each other."""
    pool = pool_of(constant_law(10 * MS), SCHED._replace(max_seqs=8, prefix_cache=1))
    calls = [Call(0, 256, 1), Call(256, 10, 1), Call(256, 40, 1, extends=0), Call(256, 70, 1, extends=0)]
    output = engine(world_of([(calls, [SubAgent(0, 2), SubAgent(0, 3)])], at(0), [pool]))
    assert times_ms(output) == {0: (0, 10), 2: (10, 20), 3: (10, 20), 1: (20, 30)}
    assert column(output, "cached_tokens").tolist() == [0, 256, 256, 256]
