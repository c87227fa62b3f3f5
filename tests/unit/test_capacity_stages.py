"""The stages of a call: they add up exactly, whatever the call skipped, and split at the first token."""

import numpy as np
import pytest
from hand_made import fleet, pool
from hypothesis import given
from hypothesis import strategies as st

from simulator.capacity.stages import ENDS, at_percentile, before_first, in_order, stage_names, stage_ps, stage_seconds
from simulator.engine.world import FIRST_BY_DECODE, FIRST_BY_PREFILL, ROLE_DECODE, ROLE_PREFILL, Fleet
from simulator.units import PS_PER_S

PAIR = (pool(ROLE_PREFILL), pool(ROLE_DECODE))
TIMES = ("send_ps", "claim_ps", "admit_ps", "prefilled_ps", "moved_ps", "landed_ps", "first_ps", "last_ps")
FLEETS = [fleet(), *(fleet(*PAIR, first_token=f, prealloc=p) for f in (FIRST_BY_PREFILL, FIRST_BY_DECODE) for p in (0, 1))]


def columns(**seconds: float) -> dict[str, np.ndarray]:
    """One call; what is not given never happened."""
    return {name: np.array([round(seconds.get(name.removesuffix("_ps"), -1e-12) * PS_PER_S)]) for name in TIMES}


def stages(of: Fleet, **seconds: float) -> dict[str, float]:
    return dict(zip(stage_names(of), stage_seconds(of, columns(**seconds))[0].tolist(), strict=True))


def test_a_call_of_a_mixed_pool_waits_prefills_and_decodes() -> None:
    assert stages(fleet(), send=10, admit=13, prefilled=14, first=14, last=20) == {"prefill_queue": 3, "prefill": 1, "decode": 6}


def test_first_token_by_the_prefill_side() -> None:
    """The wait for a slot and the link fall between the first token and the second; no decode step is the first one's."""
    of = fleet(*PAIR, first_token=FIRST_BY_PREFILL)
    found = stages(of, send=0, admit=1, prefilled=3, first=3, claim=7, moved=8, landed=10, last=20)
    assert found == {"prefill_queue": 1, "prefill": 2, "decode_slot": 4, "link_queue": 1, "transfer": 2, "decode": 10}
    ahead = before_first(np.array([list(found.values())]), np.array([3.0]))
    assert ahead.tolist() == [[1, 2, 0, 0, 0, 0]]


def test_first_token_by_the_decode_side() -> None:
    of = fleet(*PAIR, first_token=FIRST_BY_DECODE)
    found = stages(of, send=0, admit=1, prefilled=3, claim=7, moved=8, landed=10, first=10.5, last=20)
    assert found["first_decode"] == 0.5
    ahead = before_first(np.array([list(found.values())]), np.array([10.5]))
    assert ahead.tolist() == [[1, 2, 4, 1, 2, 0.5, 0]]


def test_a_seat_taken_beforehand_is_the_first_wait() -> None:
    of = fleet(*PAIR, prealloc=1)
    found = stages(of, send=0, claim=4, admit=5, prefilled=7, first=7, moved=7, landed=9, last=20)
    assert found == {"decode_seat": 4, "prefill_queue": 1, "prefill": 2, "link_queue": 0, "transfer": 2, "decode": 11}


def test_chunks_that_moved_during_the_prefill_take_no_time_of_their_own() -> None:
    of = fleet(*PAIR, prealloc=1)
    found = stages(of, send=0, claim=0, admit=0, prefilled=10, first=10, moved=4, landed=11, last=20)
    assert (found["prefill"], found["link_queue"], found["transfer"], found["decode"]) == (10, 0, 1, 9)


def test_a_call_of_one_token_never_moves() -> None:
    found = stages(fleet(*PAIR), send=0, admit=1, prefilled=3, first=3, last=3)
    assert found == {"prefill_queue": 1, "prefill": 2, "decode_slot": 0, "link_queue": 0, "transfer": 0, "decode": 0}


@pytest.mark.parametrize("of", FLEETS)
@given(data=st.data())
def test_stages_add_up_exactly(of: Fleet, data: st.DataObject) -> None:
    """Any call: each time either never happened or lies between send and last, in any order."""
    send = data.draw(st.integers(0, 10**15))
    whole = data.draw(st.integers(1, 10**17))
    within = st.one_of(st.just(-1), st.integers(send, send + whole))
    column = {name: np.array([data.draw(within)]) for name in TIMES} | {"send_ps": np.array([send]), "last_ps": np.array([send + whole])}
    found = stage_ps(of, column)
    assert (found >= 0).all()
    assert int(found.sum()) == whole


@pytest.mark.parametrize("of", FLEETS)
def test_every_stage_ends_at_a_column_and_is_named_once(of: Fleet) -> None:
    names = stage_names(of)
    assert len(set(names)) == len(names)
    assert len({ENDS[name] for name in names}) == len(names)


def test_calls_at_a_percentile() -> None:
    values = np.array([np.nan, *np.arange(100.0, -1.0, -1.0)])
    assert sorted(values[at_percentile(values, 95)].tolist()) == [93, 94, 95, 96, 97]
    assert values[at_percentile(values, 100)].tolist() == [98, 99, 100]
    assert at_percentile(np.array([5.0]), 95).tolist() == [0]
    assert at_percentile(np.array([3.0, 1.0, 2.0]), 25).size == 1
    assert at_percentile(np.array([np.nan]), 25).size == 0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.data())
def test_a_band_of_ranks_is_a_slice_of_the_stable_order(values: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(values) - 1))
    last = data.draw(st.integers(first, len(values) - 1))
    places = np.arange(100, 100 + len(values))
    order = np.argsort(values, kind="stable")
    assert in_order(places, np.array(values, float), first, last).tolist() == places[order[first : last + 1]].tolist()
