"""Schedules worked out by hand for the options by which SGLang, TensorRT-LLM and llama.cpp differ from vLLM, in both engines.

Notation as in `test_vllm_schedules`: ``A40`` computes 40 tokens of A, ``A1`` is a decode step, ``-C`` a preemption, ``f29`` the blocks free
after scheduling; blocks of 32 tokens, steps of a second. None of these was run on a real engine: they say what docs/engines.md means.
"""

import pytest

from simulator.engine.world import (
    BATCH_PREFILL_FIRST,
    CACHE_SLOTS,
    EVENT_LOAD,
    REQUEUE_FRONT,
    REQUEUE_TAIL,
    RESERVE_FULL,
    RESERVE_INPUT,
    RESERVE_RATIO,
    VICTIM_FEWEST,
    VICTIM_LAST,
    VISIBLE_RESULT,
    VISIBLE_SCHEDULED,
)
from simulator.units import PS_PER_S
from tests.oracle.schedules import Request, world_of
from tests.oracle.timeline import ENGINES, Engine, assert_timeline, by_agent, pool_like, stages, with_pools


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def check(
    engine: Engine, requests: list[Request], expected: str, blocks: int, budget: int, texts: dict[str, int] | None = None, **options: int
):  # type: ignore[no-untyped-def]
    """Run on one rank and compare; returns what the engine returned."""
    world = world_of(requests, blocks, budget, texts, **options)
    output = engine(world)
    assert_timeline(world, output, requests, expected)
    return output


# ------------------------------------------------------------------------------------------- batches of prefill or of decode


def test_prefill_first_holds_the_decodes_back(engine: Engine) -> None:
    """Compare S1 of vLLM: the same calls mix there. B is cut at step 1 and goes on first; nobody decodes until no prefill is left."""
    requests = [Request("A", 40, 4), Request("B", 100, 2), Request("C", 10, 3, at=2)]
    expected = """
        1: A40 B24 f29
        2: B64 f27
        3: B12 C10 f25
        4: A1 B1 C1 f25
        5: A1 C1 f29
        6: A1 f30
    """
    check(engine, requests, expected, 32, 64, batch_mode=BATCH_PREFILL_FIRST)


def test_decode_interval_keeps_prefill_out_only_while_something_decodes(engine: Engine) -> None:
    requests = [
        Request("A", 40, 6),
        Request("B", 10, 2, at=2),
        Request("C", 10, 2, at=3),
        Request("D", 20, 1, at=8),
        Request("E", 20, 1, at=9),
    ]
    expected = """
        1: A40 f30
        2-3: A1 f30
        4: B10 C10 f28
        5: A1 B1 C1 f28
        6-7: A1 f30
        8: D20 f31
        9: E20 f31
    """
    check(engine, requests, expected, 32, 64, batch_mode=BATCH_PREFILL_FIRST, decode_interval=2)


LATCH = [Request("A", 40, 12), Request("B", 60, 2, at=2)]
DECLARED = {"admit_reserve": RESERVE_RATIO, "max_new_tokens": 64, "ratio_clip": 64}
FALLING = DECLARED | {"ratio_init_milli": 1000, "ratio_min_milli": 0, "ratio_steps": 10}


def test_a_call_that_did_not_fit_is_not_tried_again_before_something_is_given_back(engine: Engine) -> None:
    """The latch (SGLang's batch_is_full). 8 blocks; A holds 2; B asks for 64 + 64 + 32 = 160 of 192 less the share of A's 64 - out.

    At step 2 the share is 1: 192 - 63 < 160, so the latch falls. By step 7 the share is 0.5 and 192 - 29 >= 160, but nobody looks.
    """
    expected = """
        1: A40 f6
        2-12: A1 f6
        13: B60 f6
        14: B1 f6
    """
    check(engine, LATCH, expected, 8, 256, batch_mode=BATCH_PREFILL_FIRST, **FALLING)


def test_without_the_latch_the_falling_share_lets_it_in(engine: Engine) -> None:
    """Mixed steps all count as decode steps, so the share is 0.5 at step 6: 192 - 29 >= 160, where at step 5 192 - 36 < 160."""
    expected = """
        1: A40 f6
        2-5: A1 f6
        6: A1 B60 f4
        7: A1 B1 f4
        8-12: A1 f6
    """
    check(engine, LATCH, expected, 8, 256, **FALLING)


# --------------------------------------------------------------------------------------------------- chunks and reservation


def test_a_cut_chunk_is_floored_to_the_unit_and_the_last_one_is_not(engine: Engine) -> None:
    requests = [Request("A", 50, 2), Request("B", 100, 2)]
    expected = """
        1: A50 B32 f29
        2: A1 B68 f26
        3: B1 f28
    """
    check(engine, requests, expected, 32, 100, chunk_round=32)


@pytest.mark.parametrize(("unit", "first", "second"), [(32, "A50 f30", "A1 B40 f28"), (1, "A50 B14 f29", "A1 B26 f28")])
def test_less_than_a_unit_of_budget_admits_nobody(engine: Engine, unit: int, first: str, second: str) -> None:
    requests = [Request("A", 50, 3), Request("B", 40, 2)]
    check(engine, requests, f"1: {first}\n2: {second}\n3: A1 B1 f28", 32, 64, chunk_round=unit)


def test_input_full_reserves_the_longest_answers_of_all(engine: Engine) -> None:
    """With answers of up to 64 tokens A and B may need 4 blocks each and C 3: 8 of 8, so C waits for B's end."""
    requests = [Request("A", 60, 6), Request("B", 60, 2), Request("C", 20, 2)]
    expected = """
        1: A60 B60 f4
        2: A1 B1 f4
        3: A1 C20 f5
        4: A1 C1 f5
        5: A1 f6
        6: A1 f5
    """
    check(engine, requests, expected, 8, 256, admit_reserve=RESERVE_FULL, max_new_tokens=64)


def test_input_alone_would_have_let_it_in(engine: Engine) -> None:
    requests = [Request("A", 60, 1), Request("B", 60, 1), Request("C", 20, 1)]
    check(engine, requests, "1: A60 B60 C20 f3", 8, 256, admit_reserve=RESERVE_INPUT, max_new_tokens=64)


def test_a_call_alone_is_admitted_whatever_it_may_answer(engine: Engine) -> None:
    requests = [Request("A", 60, 2), Request("B", 60, 2)]
    expected = """
        1: A60 f6
        2: A1 f6
        3: B60 f6
        4: B1 f6
    """
    check(engine, requests, expected, 8, 256, admit_reserve=RESERVE_FULL, max_new_tokens=1000)


RATIO = {"admit_reserve": RESERVE_RATIO, "max_new_tokens": 100, "ratio_clip": 64, "ratio_init_milli": 500, "ratio_min_milli": 500}


def test_input_ratio_admits_what_just_fits_beside_a_share_of_the_answers(engine: Engine) -> None:
    """10 blocks. At step 2 A holds 3 and has 1 token out: it may add min(99, 64), of which half is reserved: 224 - 32 = 192 are left.

    B of 96 tokens asks for 3 blocks, 64 of answer and a block: 192.
    """
    expected = """
        1: A64 f8
        2: A1 B96 f4
        3: A1 B1 f3
    """
    check(engine, [Request("A", 64, 3), Request("B", 96, 2, at=2)], expected, 10, 512, **RATIO)


@pytest.mark.parametrize(("prompt", "share"), [(97, 500), (96, 516), (65, 1000)])
def test_input_ratio_refuses_a_token_more_or_a_larger_share(engine: Engine, prompt: int, share: int) -> None:
    """97 tokens are a block more; 0.516 of 64 tokens is 33; of all 64, there is room for 224 - 64 = 160, and 65 tokens ask for 192."""
    blocks = -(-prompt // 32)
    expected = f"""
        1: A64 f8
        2-3: A1 f7
        4: B{prompt} f{10 - blocks}
        5: B1 f{10 - blocks - (prompt % 32 == 0)}
    """
    options = RATIO | {"ratio_init_milli": share, "ratio_min_milli": share}
    check(engine, [Request("A", 64, 3), Request("B", prompt, 2, at=2)], expected, 10, 512, **options)


# ---------------------------------------------------------------------------------------------------------- who gives way

SLOW_A = [Request("A", 126, 12), Request("B", 62, 12)]


def test_the_call_with_the_fewest_output_tokens_gives_way(engine: Engine) -> None:
    """A was admitted first but its prompt takes four chunks, so it has 1 token out when B, with 3, needs a block."""
    expected = """
        1: A32 B32 f4
        2: A32 B30 f2
        3: B1 A32 f1
        4: B1 A30 f0
        5: B1 -A f3
        6-13: B1 f3
        14: A31 f2
        15: A1 f2
        16-24: A1 f1
    """
    check(engine, SLOW_A, expected, 6, 256, long_prefill_cap=32, victim=VICTIM_FEWEST, requeue=REQUEUE_TAIL)


def test_where_the_last_admitted_would_have_been_the_other(engine: Engine) -> None:
    world = world_of(SLOW_A, 6, 256, long_prefill_cap=32, victim=VICTIM_LAST)
    assert by_agent(engine(world), "preemptions") == [0, 1]


@pytest.mark.parametrize(("prompts", "blocks", "fourth"), [((94, 62), 5, "B1 -A f2"), ((62, 94), 5, "A1 -B f2"), ((62, 62), 4, "A1 -B f1")])
def test_of_equal_outputs_the_longest_prompt_gives_way_then_the_last(
    engine: Engine, prompts: tuple[int, int], blocks: int, fourth: str
) -> None:
    """The other takes the last full block that the loser leaves, so the loser computes 33 tokens again."""
    requests = [Request("A", prompts[0], 4), Request("B", prompts[1], 4)]
    world = world_of(requests, blocks, 256, victim=VICTIM_FEWEST, requeue=REQUEUE_TAIL)
    output = engine(world)
    loser, prompt = ("A", prompts[0]) if "-A" in fourth else ("B", prompts[1])
    left = blocks - -(-(prompt + 3) // 32)
    first = f"A{prompts[0]} B{prompts[1]}"
    assert_timeline(world, output, requests, f"1: {first} f0\n2-3: A1 B1 f0\n4: {fourth}\n5: {loser}33 f{left}")


def test_tail_requeue_lets_those_who_waited_go_first(engine: Engine) -> None:
    """As above with C behind: when A gives way it queues after C, and what C takes is lost to A (of its 3 full blocks one is left)."""
    requests = [*SLOW_A, Request("C", 62, 2, at=3)]
    expected = """
        1: A32 B32 f4
        2: A32 B30 f2
        3: B1 A32 f1
        4: B1 A30 f0
        5: B1 -A f3
        6: B1 C32 f2
        7: B1 C30 f1
        8: B1 C1 f1
        9-13: B1 f3
        14: A95 f2
        15: A1 f2
        16-24: A1 f1
    """
    options = {"long_prefill_cap": 32, "victim": VICTIM_FEWEST}
    check(engine, requests, expected, 6, 256, requeue=REQUEUE_TAIL, **options)
    front = engine(world_of(requests, 6, 256, requeue=REQUEUE_FRONT, **options))
    assert stages(front, "admit")[2] == (13.0,), "at the front A, which does not fit, holds C back"


# ------------------------------------------------------------------------------------------------------- what can be found


@pytest.mark.parametrize(
    ("visible", "first", "second"),
    [(VISIBLE_RESULT, "D64 E64 F84 f25", "D1 E1 F1 f23"), (VISIBLE_SCHEDULED, "D64 E32 F20 f28", "D1 E1 F1 f26")],
)
def test_visible_after_the_result_shares_nothing_within_a_step(engine: Engine, visible: int, first: str, second: str) -> None:
    """Compare S2 of vLLM; later calls find the same in either case."""
    requests = [
        Request("D", 64, 2, text="P"),
        Request("E", 64, 2, text="P"),
        Request("F", 84, 2, text="P"),
        Request("P", 64, 1, at=3, text="P"),
        Request("Q", 74, 1, at=4, text="P"),
    ]
    check(engine, requests, f"1: {first}\n2: {second}\n3: P32 f30\n4: Q10 f29", 32, 256, {"P": 2}, visible=visible)


def test_a_slot_keeps_its_last_call_and_no_other_slot_sees_it(engine: Engine) -> None:
    """Two slots of 8 blocks. C finds X in A's slot; E wants it too but that slot is busy, so it computes all in the slot of B.

    F (text Y) finds Y nowhere any more and takes the slot used longest ago, C's. G finds X where E left it.
    """
    requests = [
        Request("A", 128, 2, text="X"),
        Request("B", 128, 2, text="Y"),
        Request("C", 160, 2, at=3, text="X"),
        Request("E", 160, 2, at=3, text="X"),
        Request("F", 160, 1, at=5, text="Y"),
        Request("G", 192, 1, at=6, text="X"),
    ]
    expected = """
        1: A128 B128 f0
        2: A1 B1 f0
        3: C32 E160 f0
        4: C1 E1 f0
        5: F160 f8
        6: G64 f8
    """
    output = check(engine, requests, expected, 16, 512, {"X": 4, "Y": 4}, prefix_cache=CACHE_SLOTS, max_seqs=2)
    assert by_agent(output, "cached_tokens") == [0, 0, 128, 0, 0, 128]


@pytest.mark.parametrize(("prompt", "similarity", "computed"), [(224, 600, 96), (256, 600, 256), (192, 799, 64), (192, 800, 192)])
def test_a_slot_must_share_enough_of_the_prompt(engine: Engine, prompt: int, similarity: int, computed: int) -> None:
    """B's slot shares 4 blocks; 0.6 of the 6 full ones before the last token is less than that, of 7 it is more: then the older slot.

    0.8 of 5 blocks is just 4, which is not enough.
    """
    requests = [Request("A", 128, 1, text="X"), Request("B", 128, 1, text="Y", at=2), Request("C", prompt, 1, at=3, text="Y")]
    options = {"prefix_cache": CACHE_SLOTS, "max_seqs": 2, "similarity_milli": similarity}
    check(engine, requests, f"1: A128 f8\n2: B128 f8\n3: C{computed} f8", 16, 512, {"X": 4, "Y": 4}, **options)


@pytest.mark.parametrize(("tails", "computed"), [(2, (70, 96)), (3, (70, 32)), (0, (6, 32))])
def test_a_prefix_is_resumed_only_where_a_call_ended(engine: Engine, tails: int, computed: tuple[int, int]) -> None:
    """All of X (4 blocks) stays in memory. B continues where A ended; C forks after block 2, where none did, and computes all.

    With room for 2 ends, C's own pushes out that of X, so D resumes only where C forked; with 3 it continues X; with no such rule
    (0) both find all that is there.
    """
    requests = [
        Request("A", 128, 1, text="X"),
        Request("B", 160, 1, at=2, text="X"),
        Request("C", 70, 1, at=3, text="X"),
        Request("D", 160, 1, at=4, text="X"),
    ]
    plain = world_of(requests, 32, 256, {"X": 4})
    world = with_pools(plain, pool_like(plain, tails=tails))
    assert_timeline(world, engine(world), requests, f"1: A128 f28\n2: B32 f27\n3: C{computed[0]} f29\n4: D{computed[1]} f27")


def test_an_end_from_which_a_call_resumed_is_the_newest(engine: Engine) -> None:
    """Room for 2 ends. X's, then C's; B resumes at X's, so its own pushes out C's, and D resumes at X's again."""
    requests = [
        Request("A", 128, 1, text="X"),
        Request("C", 128, 1, at=2),
        Request("B", 160, 1, at=3, text="X"),
        Request("D", 160, 1, at=4, text="X"),
    ]
    plain = world_of(requests, 32, 256, {"X": 4})
    world = with_pools(plain, pool_like(plain, tails=2))
    assert_timeline(world, engine(world), requests, "1: A128 f28\n2: C128 f28\n3: B32 f27\n4: D32 f27")


@pytest.mark.parametrize(("host_blocks", "last", "tokens"), [(10, "Y1", [32, 64]), (1, "Y33", [32, 32]), (0, "", [])])
def test_what_hbm_evicts_comes_back_from_the_host(engine: Engine, host_blocks: int, last: str, tokens: list[int]) -> None:
    """S5 of vLLM with a tier behind it, from which any load takes 2 s. 6 blocks; U leaves X, V leaves Y, W takes X's second block.

    X finds its first block in HBM and the second in the host tier, and in taking 2 blocks pushes both of Y out. Y finds them there; a tier
    of one block has kept only the first, for the tail of a prefix leaves earlier.
    """
    requests = [
        Request("U", 65, 1, at=1, text="X"),
        Request("V", 65, 1, at=2, text="Y"),
        Request("W", 96, 1, at=3, text="Z"),
        Request("X", 65, 1, at=4, text="X"),
        Request("Y", 65, 1, at=8, text="Y"),
    ]
    plain = world_of(requests, 6, 256, {"X": 2, "Y": 2, "Z": 3})
    world = with_pools(plain, pool_like(plain, host_blocks=host_blocks, host_fixed_ps=2 * PS_PER_S))
    output = engine(world)
    with_host = f"6: X1 f3\n10: {last} f3"
    without = "4: X33 f3\n8: Y65 f3"
    assert_timeline(world, output, requests, "1: U65 f3\n2: V65 f3\n3: W96 f3\n" + (with_host if host_blocks else without))
    assert [row[5] for row in output.events.tolist() if row[1] == EVENT_LOAD] == tokens
    assert by_agent(output, "host_tokens") == ([0, 0, 0, *tokens] if host_blocks else [0] * 5)
