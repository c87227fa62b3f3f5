"""Phases stopped early: looking changes nothing, the rule on hand-made calls, and how often it errs on phases that are also played in full.

`AGENTWATT_PHASES=2000 pytest -s -k errs tests/unit/test_capacity_early.py` prints the figures of docs/capacity.md.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hand_made import row, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.capacity.answers_json import summary_json
from simulator.capacity.build import Prepared, build_world, prepare
from simulator.capacity.early import FURTHER, Hopeless, looks_ps
from simulator.capacity.metrics import Window, measure
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.seed_search import search_seed
from simulator.capacity.slo import E2E_SPEED, SLO, SPEED, TTFT, Clause
from simulator.engine import Output, World, simulate_kernel
from simulator.units import PS_PER_S
from tests.oracle.worlds import worlds

PHASES = int(os.environ.get("AGENTWATT_PHASES", "96"))
SEEN_S = 110
LIMIT = SLO.speed_and_ttft(20, 10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=worlds(), places=st.lists(st.floats(0.01, 1.5), min_size=1, max_size=5))
def test_looking_changes_nothing(drawn: World, places: list[float]) -> None:
    whole = simulate_kernel(drawn)
    looks = sorted(int(place * whole.end_ps) for place in places)
    seen: list[int] = []

    def look(calls: np.ndarray, plays: int) -> bool:
        seen.append(len(calls))
        return False

    looked = simulate_kernel(drawn, False, looks, look)
    assert all(np.array_equal(a, b) for a, b in zip(whole, looked, strict=True))
    assert seen == sorted(seen)
    stopped = simulate_kernel(drawn, False, looks[:1], lambda calls, plays: True)
    until = simulate_kernel(drawn._replace(stop=drawn.stop._replace(max_ps=min(looks[0], drawn.stop.max_ps))))
    assert all(np.array_equal(a, b) for a, b in zip(stopped, until, strict=True))


def test_looks_come_ever_more_rarely_and_only_where_plays_are_waited_for() -> None:
    stop = world().stop._replace(min_window_ps=600 * PS_PER_S, min_plays=30, max_ps=2_000 * PS_PER_S)
    looks = list(looks_ps(stop))
    assert looks[0] == stop.window_ps + stop.min_window_ps
    assert np.diff(looks)[1:] == pytest.approx(FURTHER * np.diff(looks)[:-1])
    assert looks[-1] < stop.max_ps
    assert list(looks_ps(stop._replace(min_plays=0))) == []


def judged(*groups: tuple[int, int], plays: int = 6, slo: SLO = LIMIT) -> list[bool]:
    """What is said at one look after another, between which calls ended: so many that waited 1 s for their first token, so many 60 s."""
    rule = Hopeless(world()._replace(stop=world().stop._replace(min_agent_plays=3)), slo)
    calls, said = np.zeros((0, len(row(0, 0, 0, 1))), np.int64), []
    for good, bad in groups:
        new = [row(0, SEEN_S, SEEN_S + wait, SEEN_S + wait + 0.1) for wait, times in ((1, good), (60, bad)) for _ in range(times)]
        calls = np.concatenate((calls, np.array(new, np.int64).reshape(-1, calls.shape[1])))
        said.append(rule(calls, plays))
    return said


def test_a_clause_fails_at_twice_its_share_of_misses() -> None:
    assert judged((91, 9)) == [False]
    assert judged((90, 10)) == [True]
    assert judged((90, 10), plays=5) == [False]


def test_what_gets_better_is_played_on() -> None:
    assert judged((100, 0), (70, 30)) == [False, True]
    assert judged((50, 50), (60, 40), plays=6)[1] is False
    assert judged((98, 2), (85, 15)) == [False, False]


def test_calls_sent_before_the_window_do_not_count() -> None:
    rule = Hopeless(world()._replace(stop=world().stop._replace(min_agent_plays=3)), LIMIT)
    assert rule(np.array([row(0, 50, 150, 160)] * 20), 6) is False
    assert rule(np.array([row(0, 50, 150, 160)] * 20 + [row(0, 101, 190, 191)]), 6) is True


def drawn_phases(count: int) -> Iterator[tuple[Prepared, int]]:
    """Phases around the edge of one H200 server, by load, seats, SLO and seed."""
    rng = np.random.default_rng(8)
    for _ in range(0, count, 12):
        changes = {
            "deployment.max_seqs": int(rng.choice([4, 8, 16])),
            "workload.prompt_scale": float(rng.choice([0.25, 1.0])),
            "workload.tool_delay_scale": float(rng.choice([0.3, 1.0, 3.0])),
            "slo.speed_tok_s": float(rng.choice([20, 40, 60])),
            "slo.ttft_s": float(rng.choice([2, 10, 30])),
        }
        prepared = prepare(load_scenario("capacity_h200", changes), int(rng.integers(1, 1_000)))
        yield from ((prepared, int(agents)) for agents in rng.choice(np.arange(2, 24), 12, replace=False))


def just_held(window: Window) -> Iterator[SLO]:
    """SLOs that a phase holds by a hair: the hardest cases for a rule that must not stop it."""
    for quantity, percentiles in ((SPEED, (10, 25, 50)), (E2E_SPEED, (25,)), (TTFT, (50, 75, 90, 95, 99))):
        known = window.samples[quantity][~np.isnan(window.samples[quantity])]
        yield from (SLO((Clause(quantity, p, float(np.percentile(known, p))),)) for p in percentiles)


def looked_at(whole: World) -> tuple[Output, list[tuple[int, int]]]:
    """A full play, with the calls and plays that had ended by each look."""
    seen: list[tuple[int, int]] = []

    def look(calls: np.ndarray, plays: int) -> bool:
        seen.append((len(calls), plays))
        return False

    return simulate_kernel(whole, False, looks_ps(whole.stop), look), seen


def test_how_often_the_rule_errs() -> None:
    """A phase that holds is hardly ever stopped, one that breaks often is."""
    told: Counter[str] = Counter()
    for prepared, agents in drawn_phases(PHASES):
        whole = build_world(prepared, agents)
        output, seen = looked_at(whole)
        window = measure(whole, output)
        held = prepared.slo.evaluate(window.samples).held and window.complete
        for slo, name in (
            (prepared.slo, "held" if held else "broken"),
            *((slo, "held by a hair") for slo in just_held(window) if window.complete),
        ):
            rule = Hopeless(whole, slo)
            stopped = next((rows for rows, plays in seen if rule(output.calls[:rows], plays)), None)
            told[name] += 1
            told[f"{name}, stopped"] += stopped is not None
            if name == "broken":
                told["calls of broken ones"] += len(output.calls)
                told["of them played"] += len(output.calls) if stopped is None else stopped
    print(dict(told))
    assert told["held, stopped"] == 0
    assert told["held by a hair, stopped"] <= 0.002 * told["held by a hair"]
    assert told["broken, stopped"] > 0.3 * told["broken"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_answer_is_that_of_full_phases(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = replace(load_scenario("capacity_h200"), seeds=(seed,))
    early = search_seed(scenario, seed)
    monkeypatch.setattr(Hopeless, "__call__", lambda self, calls, plays: False)
    full = search_seed(scenario, seed)
    assert early.bracket == full.bracket
    assert early.held is not None
    assert full.held is not None
    assert summary_json(early.held) == summary_json(full.held)
    assert sum(point.calls for point in early.points) < sum(point.calls for point in full.points)
