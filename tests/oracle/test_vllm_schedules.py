"""Schedules that vLLM 0.32.0 really produced (CPU, tiny model, blocks of 32), step by step, free blocks included, in both engines.

Notation: ``A40`` computes 40 tokens of A, ``A1`` is a decode step (decode steps are listed first), ``-C`` a preemption, ``f29`` the
blocks free after scheduling. Each scenario is one that was run on the real scheduler; budgets, block counts and arrivals are given to
`world_of`.
"""

from collections.abc import Callable

import pytest

from simulator.engine import Output, World, simulate_kernel, simulate_reference
from simulator.engine.reference import Simulation
from simulator.engine.world import CALL_COLUMNS, EVENT_CHUNK
from tests.oracle.schedules import Request, assert_schedule, world_of

Engine = Callable[[World], Output]


def kernel(world: World) -> Output:
    return simulate_kernel(world, events=True)


@pytest.fixture(params=[kernel, simulate_reference], ids=["kernel", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


def test_s1_decodes_and_chunks_mix_in_one_step(engine: Engine) -> None:
    requests = [Request("A", 40, 4), Request("B", 100, 2), Request("C", 10, 3, at=2)]
    expected = """
        1: A40 B24 f29
        2: A1 B63 f27
        3: A1 B13 C10 f25
        4: A1 B1 C1 f25
        5: C1 f31
    """
    assert_schedule(engine(world_of(requests, 32, 64)), requests, expected)


def test_s2_a_block_is_shared_as_soon_as_it_is_scheduled(engine: Engine) -> None:
    requests = [
        Request("D", 64, 2, text="P"),
        Request("E", 64, 2, text="P"),
        Request("F", 84, 2, text="P"),
        Request("P", 64, 1, at=3, text="P"),
        Request("Q", 74, 1, at=4, text="P"),
    ]
    expected = """
        1: D64 E32 F20 f28
        2: D1 E1 F1 f26
        3: P32
        4: Q10
    """
    assert_schedule(engine(world_of(requests, 32, 256, {"P": 2})), requests, expected)


def test_s3_the_last_admitted_is_preempted_and_resumes_from_what_survived(engine: Engine) -> None:
    requests = [Request("A", 62, 40), Request("B", 62, 40), Request("C", 62, 8)]
    expected = """
        1: A62 B62 C62 f0
        2-3: A1 B1 C1 f0
        4: A1 B1 -C f0
        5-35: A1 B1 f0
        36: A1 -B f2
        37-40: A1 f2
        41: B33 f2
        42-45: B1 f2
        46: C65 f3
        47-50: C1 f3
    """
    assert_schedule(engine(world_of(requests, 6, 256)), requests, expected)


def test_s4_a_call_that_does_not_fit_blocks_those_behind_it(engine: Engine) -> None:
    requests = [Request("A", 60, 6), Request("B", 200, 2), Request("C", 20, 2)]
    expected = """
        1: A60 f6
        2-5: A1 f6
        6: A1 f5
        7: B64 f6
        8: B64 f4
        9: B64 f2
        10: B8 C20 f0
        11: B1 C1 f0
    """
    assert_schedule(engine(world_of(requests, 8, 64)), requests, expected)


S5 = [
    Request("U", 65, 1, at=1, text="X"),
    Request("V", 65, 1, at=2, text="Y"),
    Request("W", 96, 1, at=3, text="Z"),
    Request("X", 65, 1, at=4, text="X"),
    Request("Y", 65, 1, at=5, text="Y"),
    Request("Z", 65, 1, at=6, text="X"),
]


def test_s5_eviction_is_least_recently_freed_tail_first(engine: Engine) -> None:
    output = engine(world_of(S5, 6, 256, {"X": 2, "Y": 2, "Z": 3}))
    computed = [row[5] for row in output.events.tolist() if row[1] == EVENT_CHUNK]
    assert computed == [65, 65, 96, 33, 65, 1]


def test_s5_the_free_queue_holds_the_same_blocks_in_the_same_order() -> None:
    """Block by block: only the reference has block numbers."""
    sim = Simulation(world_of(S5, 6, 256, {"X": 2, "Y": 2, "Z": 3}))
    queues = []
    real = sim.ranks[0].vacate

    def vacate(call, tokens):  # type: ignore[no-untyped-def]
        freed = real(call, tokens)
        queues.append("".join(str(block + 1) for block in sim.ranks[0].pool.queue))
        return freed

    sim.ranks[0].vacate = vacate  # type: ignore[method-assign]
    sim.run()
    assert queues == ["345621", "562143", "143265", "326541", "654123", "652341"]


def test_s6_prefill_waits_for_its_beat_while_something_decodes(engine: Engine) -> None:
    requests = [Request("A", 20, 9), Request("B", 100, 3, at=2), Request("C", 10, 2, at=3)]
    expected = """
        1: A20
        2-3: A1
        4: A1 B63
        5: A1 B37 C10
        6: A1 B1 C1
        7: A1 B1
        8-9: A1
    """
    assert_schedule(engine(world_of(requests, 32, 64, prefill_interval=3)), requests, expected)


def test_watermark_holds_back_admission_only_while_something_runs(engine: Engine) -> None:
    requests = [Request("A", 60, 3), Request("B", 200, 2), Request("C", 60, 2)]
    expected = """
        1: A60
        2-3: A1
        4-6: B64
        7: B8 f3
        8: B1
        9: C60
        10: C1
    """
    output = engine(world_of(requests, 10, 64, watermark_blocks=2))
    assert_schedule(output, requests, expected)
    assert dict(zip(CALL_COLUMNS, output.calls[1].tolist(), strict=True))["first_ps"] == 7 * 10**12


def test_long_prefill_cap_spares_a_call_that_is_alone(engine: Engine) -> None:
    requests = [Request("A", 100, 3), Request("B", 20, 5), Request("C", 30, 2)]
    expected = """
        1: A40 B20
        2: B1 A40
        3: B1 A20
        4-5: B1 A1
        6: C30
        7: C1
    """
    output = engine(world_of(requests, 32, 96, max_seqs=2, long_prefill_cap=40))
    assert_schedule(output, requests, expected)


@pytest.mark.parametrize(("depth", "c_starts"), [(1, 3), (2, 4)])
def test_a_pipelined_engine_wastes_one_step_on_a_stop_token(engine: Engine, depth: int, c_starts: int) -> None:
    requests = [Request("A", 20, 3), Request("B", 20, 2, stop=True), Request("C", 20, 2)]
    overlapped = """
        1: A20 B20
        2-3: A1 B1
        4: C20
        5: C1
    """
    immediate = """
        1: A20 B20
        2: A1 B1
        3: A1 C20
        4: C1
    """
    output = engine(world_of(requests, 32, 64, max_seqs=2, pipeline_depth=depth))
    assert_schedule(output, requests, overlapped if depth == 2 else immediate)
    admitted = dict(zip(output.calls[:, 0], output.calls[:, CALL_COLUMNS.index("admit_ps")] // 10**12 + 1, strict=True))
    assert admitted[2] == c_starts
    assert output.calls[:, 0].tolist()[0] == 1, "B's client has its last token after step 2 either way"


def test_a_step_is_empty_for_once_when_its_only_decoding_call_gives_way_off_the_beat(engine: Engine) -> None:
    """Not a run of vLLM: the corner in which a first version stopped for good, found by the drawn worlds."""
    requests = [Request("A", 96, 1), Request("B", 31, 4)]
    expected = """
        1: A40 B31 f0
        2: B1 f0
        3: -B f1
        4: A40 f0
        5: A16 f0
        6: B33 f1
        7: B1 f1
    """
    assert_schedule(engine(world_of(requests, 3, 96, prefill_interval=3, long_prefill_cap=40)), requests, expected)
