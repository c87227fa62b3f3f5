"""The search against curves whose edge is known: which counts it tries, what it answers, when it gives up."""

import math
from collections.abc import Callable

import pytest

from simulator.capacity import search as search_module
from simulator.capacity.search import Bracket, Resolution, is_monotone, knee, search, search_around, search_near


class Curve:
    """A curve that holds where a rule says so, and remembers what was asked."""

    def __init__(self, margin: Callable[[int], float]) -> None:
        self.margin = margin
        self.asked: list[int] = []

    def __call__(self, agents: int) -> float:
        self.asked.append(agents)
        return self.margin(agents)


def cliff(edge: int) -> Curve:
    """Margins that tell nothing but the verdict: the worst case of the search."""
    return Curve(lambda agents: 1.5 if agents <= edge else 0.0)


def slope(edge: float, power: float = 0.5) -> Curve:
    """A smooth curve, as output speed is."""
    return Curve(lambda agents: float((edge / agents) ** power))


def test_doubles_from_two_then_bisects_when_margins_say_nothing() -> None:
    curve = cliff(21)
    assert search(curve, Resolution()) == Bracket(21, 22)
    assert curve.asked == [2, 4, 8, 16, 32, 24, 20, 22, 21]


def test_smooth_margins_need_two_or_three_phases_after_doubling() -> None:
    for edge in (300.5, 2_777.5, 3_990.5):
        curve = slope(edge)
        found = search(curve, Resolution())
        doublings = sum(n & (n - 1) == 0 for n in curve.asked)
        assert found.held <= edge < found.broken
        assert len(curve.asked) - doublings <= 3


def precipice(edge: int) -> Curve:
    """Margins near a queue that collapses: high up to the edge, of a tenth and less beyond it."""
    return Curve(lambda agents: 1.3 * (edge / agents) ** 0.5 if agents <= edge else 0.06)


def test_on_a_precipice_every_other_probe_goes_beyond_the_middle() -> None:
    curve = precipice(1_805)
    assert search_near(curve, 1_698, Resolution()) == Bracket(1_804, 1_822)
    assert curve.asked == [1_698, 1_876, 1_804, 1_822]


def test_a_precipice_costs_less_than_by_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase that holds costs two that break; means over all edges, then with lines and middles only."""
    assert cost_of_precipices() == pytest.approx((6.1, 9.1), abs=0.05)
    monkeypatch.setattr(search_module, "CLIFF", math.inf)
    assert cost_of_precipices() == pytest.approx((6.7, 11.0), abs=0.05)


def cost_of_precipices() -> tuple[float, float]:
    """Phases, and phases that break which cost as much."""
    curves = [precipice(edge) for edge in range(1_698, 1_867)]
    found = [search_near(curve, 1_698, Resolution()) for curve in curves]
    assert all(bracket.held <= edge < bracket.broken <= bracket.held + 18 for edge, bracket in enumerate(found, 1_698))
    costs = [sum(2 if curve.margin(agents) >= 1 else 1 for agents in curve.asked) for curve in curves]
    return sum(len(curve.asked) for curve in curves) / len(curves), sum(costs) / len(costs)


def test_a_curve_made_to_mislead_takes_at_most_three_times_the_phases_of_bisection() -> None:
    curve = Curve(lambda agents: 1e6 if agents <= 1_100 else 1 - 1e-9)
    assert search(curve, Resolution(share=0.0)) == Bracket(1_100, 1_101)
    assert len(curve.asked) <= 12 + 3 * 10


@pytest.mark.parametrize("edge", [*range(1, 70), 100, 127, 128])
def test_exact_below_sixty_four_and_within_a_share_above(edge: int) -> None:
    curve = cliff(edge)
    found = search(curve, Resolution())
    assert found.held <= edge < found.broken
    assert found.broken - found.held <= max(1, int(found.held * 0.01))
    assert len(set(curve.asked)) == len(curve.asked)


def test_large_counts_end_within_one_per_cent() -> None:
    found = search(cliff(2_777), Resolution())
    assert found.held <= 2_777 < found.broken
    assert found.broken - found.held <= 27


def test_one_agent_is_tried_when_two_break() -> None:
    curve = cliff(1)
    assert search(curve, Resolution()) == Bracket(1, 2)
    assert curve.asked == [2, 1]


def test_never() -> None:
    curve = cliff(0)
    assert search(curve, Resolution()) == Bracket(0, 1)
    assert curve.asked == [2, 1]
    assert search_near(cliff(0), 40, Resolution()) == Bracket(0, 1)


def test_always_ends_at_the_ceiling() -> None:
    assert search(cliff(10**9), Resolution(ceiling=100)) == Bracket(100, 0)
    assert search_near(cliff(10**9), 3, Resolution(ceiling=100)) == Bracket(100, 0)
    assert search(cliff(10**9), Resolution(ceiling=1)) == Bracket(1, 0)


@pytest.mark.parametrize("guess", [0, 1, 3, 20, 21, 22, 40, 63, 500])
def test_a_guess_changes_the_way_not_the_answer(guess: int) -> None:
    assert search_near(cliff(21), guess, Resolution()) == Bracket(21, 22)


def test_two_phases_when_the_edge_is_where_another_search_found_it() -> None:
    curve = cliff(1_000)
    assert search_around(curve, Bracket(996, 1_005), Resolution()) == Bracket(996, 1_005)
    assert curve.asked == [996, 1_005]


def test_where_chance_has_moved_a_cliff_it_is_sought_nearby() -> None:
    curve = precipice(1_760)
    assert search_around(curve, Bracket(1_787, 1_800), Resolution()) == Bracket(1_753, 1_770)
    assert curve.asked == [1_787, 1_770, 1_736, 1_753]
    curve = precipice(1_830)
    assert search_around(curve, Bracket(1_787, 1_800), Resolution()) == Bracket(1_818, 1_836)
    assert curve.asked == [1_787, 1_800, 1_818, 1_854, 1_836]


def test_a_smooth_edge_that_chance_has_moved_is_leapt_to() -> None:
    curve = slope(3_712.5, 0.6)
    assert search_around(curve, Bracket(3_599, 3_630), Resolution()) == Bracket(3_695, 3_731)
    assert curve.asked == [3_599, 3_630, 3_731, 3_695]


@pytest.mark.parametrize("edge", [0, 1, 20, 21, 22, 23, 40, 63])
@pytest.mark.parametrize("near", [Bracket(21, 22), Bracket(0, 1), Bracket(5, 6), Bracket(100, 0)])
def test_where_another_search_ended_changes_the_way_not_the_answer(edge: int, near: Bracket) -> None:
    curve = cliff(edge)
    assert search_around(curve, near, Resolution()) == search(cliff(edge), Resolution())
    assert len(set(curve.asked)) == len(curve.asked)


def test_a_good_guess_needs_two_phases() -> None:
    curve = slope(21.2)
    search_near(curve, 21, Resolution())
    assert curve.asked == [21, 22]


@pytest.mark.parametrize("guess", [900, 1_000, 1_050, 2_000])
def test_a_guess_at_a_large_count_ends_within_one_per_cent(guess: int) -> None:
    found = search_near(cliff(1_000), guess, Resolution())
    assert found.held <= 1_000 < found.broken
    assert found.broken - found.held <= 10


@pytest.mark.parametrize("edge", [900, 1_200, 1_500, 2_200, 3_000])
def test_an_edge_far_from_another_seeds_takes_at_most_eighteen_phases(edge: int) -> None:
    for curve in (slope(edge + 0.5, 0.6), precipice(edge)):
        found = search_around(curve, Bracket(1_787, 1_800), Resolution())
        assert found.held <= edge < found.broken <= found.held + Resolution().step(found.held)
        assert len(curve.asked) <= 18


def test_margins_beyond_all_measure_are_no_crash() -> None:
    curve = Curve(lambda agents: 1e300 if agents <= 100 else 1e-300)
    assert search_near(curve, 50, Resolution()).held == 100
    assert search_near(curve, 200, Resolution()).held == 100


SCOUTS = [2**power for power in range(1, 13)]


@pytest.mark.parametrize("edge", [30.5, 700.2, 1_200.5, 3_605.5])
@pytest.mark.parametrize("bias", [0.9, 0.94, 1.0, 1.05])
def test_the_shape_of_a_curve_leads_to_an_edge_a_tenth_away_in_three_phases(edge: float, bias: float) -> None:
    """Scouts that find margins so many times too high guess the edge a sixth too low or a twelfth too high. Four phases where they saw
    nothing beyond the edge."""
    scouts, curve = slope(edge * bias ** (1 / 0.6), 0.6), slope(edge, 0.6)
    guess = search(scouts, Resolution(share=0.04)).held
    found = search_near(curve, guess, Resolution(), {n: scouts.margin(n) for n in scouts.asked})
    assert found.held <= edge < found.broken <= found.held + Resolution().step(found.held)
    assert len(curve.asked) <= (3 if max(scouts.asked) > edge else 4)


def test_a_slope_over_a_narrow_gap_does_not_mislead() -> None:
    """Two points beside each other fall as if by the 1.3th power of the agents, all together by the 0.6th."""
    like = {2_048: 1.325, 3_185: 1.02, 3_288: 0.98, 4_096: 0.88}
    curve = slope(3_613.5, 0.6)
    assert search_near(curve, 3_185, Resolution(), like) == Bracket(3_608, 3_639)
    assert curve.asked == [3_185, 3_639, 3_608]


@pytest.mark.parametrize("edge", [1, 2, 3, 20, 63, 250, 1_024, 2_000, 5_000])
@pytest.mark.parametrize("guess", [1, 2, 30, 64, 900, 1_024, 4_500])
def test_a_curve_of_another_shape_changes_the_way_not_the_answer(edge: int, guess: int) -> None:
    for like in (
        {n: (1_000 / n) ** 0.6 for n in SCOUTS},
        {n: 2.0 if n <= 1_000 else 0.01 for n in SCOUTS},
        dict.fromkeys(SCOUTS, 0.0),
        dict.fromkeys(SCOUTS, math.inf),
        dict.fromkeys(SCOUTS, 1.0),
        {1_024: 1.1},
    ):
        for curve in (cliff(edge), slope(edge + 0.5, 0.6), precipice(edge)):
            found = search_near(curve, guess, Resolution(), like)
            assert found.held <= edge < found.broken <= found.held + Resolution().step(found.held)
            assert len(set(curve.asked)) == len(curve.asked) <= 30


def test_a_curve_that_holds_again_is_told() -> None:
    curve = Curve(lambda agents: 2.0 if agents <= 8 or agents == 12 else 0.0)
    found = search(curve, Resolution())
    assert found == Bracket(12, 13)
    assert is_monotone([(n, curve.margin(n) >= 1) for n in curve.asked])
    assert not is_monotone([(8, True), (10, False), (12, True)])
    assert is_monotone([])
    assert is_monotone([(1, False)])


def test_knee_of_a_known_curve() -> None:
    """Throughput grows by 10 an agent up to 100 agents and not at all beyond."""
    points = [(n, 10.0 * min(n, 100)) for n in (2, 4, 8, 16, 32, 64, 128, 256)]
    agents, reached = knee(points)
    assert reached
    assert 64 <= agents <= 128


def test_knee_not_reached_and_noise_between_near_points_left_out() -> None:
    straight = [(n, 10.0 * n) for n in (2, 4, 8, 16)]
    assert knee(straight) == (16, False)
    assert knee([*straight, (17, 120.0)]) == (16, False)
    assert knee([]) == (0, False)
