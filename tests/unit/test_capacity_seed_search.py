"""The search of one seed on scripted phases: which are put aside, which are finished, and what happens where a finished one breaks."""

from types import SimpleNamespace

import numpy as np
import pytest

from simulator.capacity import seed_search
from simulator.capacity.point import Trial
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.search import Bracket, Resolution
from simulator.capacity.seed_search import Phases, search_seed, settled
from simulator.capacity.slo import SPEED, TTFT, Verdict

PREPARED = SimpleNamespace(seed=1, deployment=SimpleNamespace(name="scripted"))


class Waits(dict[str, np.ndarray]):
    """Stands for `Requests`: none."""

    finished_output_tokens = 0

    def __missing__(self, name: str) -> np.ndarray:
        return np.zeros(0)


class Script:
    """Stands for `Trial`: up to ``seen`` agents hold at a look, up to ``edge`` to the end; up to ``slow`` no look says that they passed."""

    def __init__(self, edge: int, seen: int, slow: int = 0) -> None:
        self.edge, self.seen, self.slow = edge, seen, slow
        self.played: list[tuple[int, bool, bool]] = []
        """Agents of each play, whether it was one to the end, and whether it went on."""

    def __call__(self, prepared: object, agents: int) -> SimpleNamespace:
        stop = SimpleNamespace(window_ps=0, max_ps=10, min_plays=1, min_agent_plays=0)
        requests = Waits()
        trial = SimpleNamespace(world=SimpleNamespace(stop=stop), outlook=SimpleNamespace(requests=requests), passed=False)

        def play(to_the_end: bool) -> None:
            self.played.append((agents, to_the_end, trial.passed))
            trial.passed = self.slow < agents <= self.seen and not to_the_end
            margin = (2.0 if trial.passed else 1.5) if agents <= (self.seen if trial.passed else self.edge) else 0.5
            trial.output = SimpleNamespace(end_ps=1 if trial.passed else 2)
            trial.verdict = Verdict(margin >= 1, SPEED, {SPEED: margin, TTFT: 1.0}, {SPEED: margin})

        trial.play = play
        return trial


def scripted(monkeypatch: pytest.MonkeyPatch, edge: int, seen: int, slow: int = 0) -> tuple[Script, Phases]:
    script = Script(edge, seen, slow)
    monkeypatch.setattr(seed_search, "Trial", script)
    return script, Phases(PREPARED, None)  # type: ignore[arg-type]


NEARS = (None, 20, 23, 40, Bracket(20, 21), Bracket(23, 24), Bracket(26, 27))


@pytest.mark.parametrize("near", NEARS)
def test_only_the_answer_is_finished_and_goes_on_from_where_it_stopped(near: Bracket | int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    script, phases = scripted(monkeypatch, edge=23, seen=23)
    assert settled(phases, near, Resolution()) == Bracket(23, 24)
    assert [play for play in script.played if play[1]] == [(23, True, True)]
    assert len({agents for agents, _, _ in script.played}) == len(script.played) - 1


@pytest.mark.parametrize("slow", [0, 22, 30])
@pytest.mark.parametrize("edge", [0, 1, 19, 20, 22, 23])
@pytest.mark.parametrize("near", NEARS)
def test_where_the_finished_phase_breaks_the_search_goes_on_below(
    near: Bracket | int | None, edge: int, slow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, phases = scripted(monkeypatch, edge, seen=26, slow=slow)
    bracket = settled(phases, near, Resolution())
    assert bracket == Bracket(edge, edge + 1)
    assert not phases.points[bracket.broken].held
    assert edge == 0 or (phases.points[edge].held and not phases.trials[edge].passed)
    assert bracket.broken in phases.trials
    assert all(not point.held for agents, point in phases.points.items() if agents > edge)
    assert slow > 0 or (26, True, True) in script.played


def test_at_most_one_phase_put_aside_is_kept_and_one_let_go_is_played_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    script, phases = scripted(monkeypatch, edge=8, seen=16)
    for agents in (4, 8, 16):
        assert phases(agents) == 2
        assert [agents for agents, trial in phases.trials.items() if trial.passed] == [agents]
    assert not phases.finish(16)
    assert phases.finish(8)
    assert script.played[-2:] == [(16, True, True), (8, True, False)]
    assert phases(8) == 1.5
    assert phases(16) == 0.5


def test_the_look_beyond_the_edge_is_a_full_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """For it says whether the answer is the only edge."""
    played: list[tuple[int, bool]] = []
    play = Trial.play

    def told(self: Trial, to_the_end: bool = False) -> None:
        played.append((len(self.world.fleet.start_ps), to_the_end))
        play(self, to_the_end)

    monkeypatch.setattr(Trial, "play", told)
    found = search_seed(load_scenario("capacity_h200", {"seeds": 1}), 1)
    assert played[-1] == (round(seed_search.BEYOND * found.bracket.broken) + 1, True)
