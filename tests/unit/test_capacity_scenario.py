"""Scenarios: what may be left out, what is refused and how it is said, and changes by dotted path."""

from pathlib import Path
from typing import Any

import pytest

from simulator.capacity.document import parse_overrides
from simulator.capacity.scenario import DEFAULT_SEEDS, FixedLoad, Phase, TrajectoryLoad
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.slo import SLO
from simulator.catalog import names
from simulator.errors import Mistake, UserError

LEAST: dict[str, Any] = {"deployment": "hgx_h200_v4pro_20tps", "workload": {"kind": "trajectories", "source": "agentperf_like"}}


def refused(**changes: Any) -> tuple[Mistake, ...]:
    with pytest.raises(UserError) as caught:
        load_scenario({**LEAST, **changes})
    return caught.value.mistakes


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "asked.yaml"
    path.write_text(text)
    return path


def test_the_least_a_scenario_needs() -> None:
    scenario = load_scenario(LEAST)
    assert scenario.workload == TrajectoryLoad("agentperf_like", None, "front", 1.0, True)
    assert (scenario.system, scenario.model, scenario.slo, scenario.agents) == (None, None, None, None)
    assert scenario.seeds == DEFAULT_SEEDS
    assert scenario.phase == Phase()


def test_the_usual_phase_is_the_benchmarks() -> None:
    phase = Phase()
    assert (phase.warmup_s, phase.min_window_s, phase.min_trajectories, phase.min_agent_trajectories) == (30, 600, 30, 3)
    assert phase.enough_trajectories == 0


def test_both_forms_of_slo_and_of_seeds() -> None:
    assert load_scenario({**LEAST, "slo": {"speed_tok_s": 20, "ttft_s": 10}}).slo == SLO.speed_and_ttft(20, 10)
    assert load_scenario({**LEAST, "slo": {"e2e_speed_tok_s": 15, "e2e_percentile": 10}}).slo == SLO.e2e(15, 10)
    assert load_scenario({**LEAST, "seeds": 2}).seeds == (1, 2)
    assert load_scenario({**LEAST, "seeds": [5, 3]}).seeds == (5, 3)


def test_a_power_cap_is_that_of_the_scenario_or_of_the_cell() -> None:
    assert load_scenario(LEAST).power_cap_w is None
    assert load_scenario({**LEAST, "power": {}}).power_cap_w is None
    assert load_scenario(LEAST, {"power.cap_w": 450}).power_cap_w == 450
    cells = [{"deployment": "hgx_h200_v4pro_20tps"}, {"deployment": "gb300_nvl72_v4pro_20tps_pd", "power": {"cap_w": 900}}]
    asked = load_scenario({**LEAST, "power": {"cap_w": 500}, "cells": cells})
    assert [cell.power_cap_w for cell in asked.cell_scenarios()] == [500, 900]


def test_fixed_load() -> None:
    scenario = load_scenario({**LEAST, "workload": {"kind": "fixed", "isl": 8192, "osl": 1024, "concurrency": 8}})
    assert scenario.workload == FixedLoad(8192, 1024, 8, 0, 0.0)
    assert scenario.agents_or(None) == 8
    assert scenario.agents_or(3) == 3


@pytest.mark.parametrize(
    ("changes", "field", "hint"),
    [
        ({"slos": {}}, "slos", "did you mean 'slo'?"),
        ({"power": {"cap": 500}}, "power.cap", "did you mean 'cap_w'?"),
        ({"slo": {"speed_tok_s": 20, "ttft_s": 10, "ttft": 5}}, "slo.ttft", "did you mean 'ttft_s'?"),
        ({"slo": {"speed_tok_s": 20, "ttft_s": "10 s"}}, "slo.ttft_s", "write ttft_s: 10; the unit is in the key's name"),
        ({"slo": {"speed_tok_s": 0, "ttft_s": 10}}, "slo.speed_tok_s", ""),
        ({"slo": {"speed_tok_s": float("nan"), "ttft_s": 10}}, "slo.speed_tok_s", ""),
        ({"slo": {"speed_tok_s": 20, "ttft_s": 10, "ttft_percentile": 101}}, "slo.ttft_percentile", ""),
        ({"slo": 20}, "slo", ""),
        ({"agents": 0}, "agents", ""),
        ({"agents": 1.5}, "agents", ""),
        ({"agents": True}, "agents", ""),
        ({"seeds": [1, 1]}, "seeds", ""),
        ({"seeds": "three"}, "seeds", ""),
        ({"deployment": 3}, "deployment", ""),
        ({"workload": {"kind": "trajectory", "source": "x"}}, "workload.kind", "did you mean 'trajectories'?"),
        ({"workload": {"kind": "trajectories", "source": "x", "marker": "back"}}, "workload.marker", ""),
        (
            {"workload": {"kind": "trajectories", "source": "x", "tool_delay_scale": "1e1"}},
            "workload.tool_delay_scale",
            "write tool_delay_scale: 10",
        ),
        ({"workload": {"kind": "fixed", "isl": 10, "osl": 5, "think": 1}}, "workload.think", "did you mean 'think_s'?"),
        ({"phase": {"warmup_s": -1}}, "phase.warmup_s", ""),
        ({"phase": {"max_s": 100}}, "phase.max_s", ""),
        ({"search": {"share": 2}}, "search.share", ""),
        ({"cells": [{"system": "hgx_h200"}]}, "cells.0.deployment", "or give system and model, and it is derived"),
        ({"cells": {}}, "cells", ""),
    ],
)
def test_one_mistake(changes: dict[str, Any], field: str, hint: str) -> None:
    (mistake,) = refused(**changes)
    assert mistake.field == field
    assert mistake.hint == hint
    assert mistake.value


def test_all_mistakes_at_once_and_what_is_missing() -> None:
    with pytest.raises(UserError) as caught:
        load_scenario({"slo": {"ttft_s": 10}, "agent": 3})
    assert [m.field for m in caught.value.mistakes] == ["agent", "deployment", "workload", "slo.speed_tok_s"]
    assert [m.value for m in caught.value.mistakes] == ["an unknown key", "nothing", "nothing", "nothing"]


def test_lines_of_a_file(tmp_path: Path) -> None:
    text = "deployment: hgx_h200_v4pro_20tps\nworkload:\n  kind: fixed\n  isl: 10\n  osl: many\nslo: {speed_tok_s: 20, ttft_ms: 5}\n"
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_scenario(path)
    assert [(m.line, m.field) for m in caught.value.mistakes] == [(5, "workload.osl"), (6, "slo.ttft_ms"), (6, "slo.ttft_s")]
    assert str(caught.value.mistakes[0]) == f"{path}:5: workload.osl; found 'many'; allowed: a whole number >= 1"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [("agents: 1\nagents: 2\n", 2, "the same key twice"), ("- 1\n", 1, "no mapping"), ("a: [1\n", 2, "expected"), ("", 1, "no mapping")],
)
def test_files_that_are_no_scenario(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_scenario(written(tmp_path, text))
    assert caught.value.mistakes[0].line == line


def test_items_of_a_list_keep_their_lines(tmp_path: Path) -> None:
    text = "workload: {kind: fixed, isl: 10, osl: 10}\nslo: {e2e_speed_tok_s: 9}\ncells:\n  - deployment: a\n  - system: b\n"
    with pytest.raises(UserError) as caught:
        load_scenario(written(tmp_path, text))
    assert [(m.line, m.field) for m in caught.value.mistakes] == [(5, "cells.1.deployment")]
    with pytest.raises(UserError) as caught:
        load_scenario(written(tmp_path, text + "    system: c\n"))
    assert [(m.line, m.field) for m in caught.value.mistakes] == [(6, "cells.1.system")]


def test_missing_file_and_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable file"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="did you mean 'compare'"):
        load_scenario("comparee")


def test_changes_by_path() -> None:
    scenario = load_scenario(LEAST, {"deployment.workers": 2, "slo.speed_tok_s": 30, "slo.ttft_s": 5, "workload.marker": "none"})
    assert scenario.deployment == {"extends": "hgx_h200_v4pro_20tps", "workers": 2}
    assert scenario.slo == SLO.speed_and_ttft(30, 5)
    assert scenario.workload.marker == "none"
    assert LEAST["deployment"] == "hgx_h200_v4pro_20tps"


def test_changes_inside_cells() -> None:
    scenario = load_scenario("compare", {"cells.1.deployment.max_seqs": 8})
    assert scenario.cells[1].deployment == {"extends": "hgx_h200_v4pro_20tps_sglang", "max_seqs": 8}
    with pytest.raises(UserError, match="0 to 3"):
        load_scenario("compare", {"cells.9.slo.ttft_s": 8})


def test_a_change_that_leads_nowhere() -> None:
    with pytest.raises(UserError, match="a path into a mapping"):
        load_scenario({**LEAST, "agents": 3}, {"agents.count": 1})
    with pytest.raises(UserError, match="did you mean 'agents'"):
        load_scenario(LEAST, {"agent": 1})


def test_change_texts() -> None:
    assert parse_overrides(["a.b=1", "c=[1, 2]", "d=word", "e=1.5"]) == {"a.b": 1, "c": [1, 2], "d": "word", "e": 1.5}
    with pytest.raises(UserError, match="path=value"):
        parse_overrides(["a.b"])


def test_paths_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    scenario = load_scenario(written(tmp_path, "deployment: mine.yaml\nworkload: {kind: trajectories, source: other/none.jsonl}\n"))
    assert scenario.deployment == str(tmp_path / "mine.yaml")
    assert isinstance(scenario.workload, TrajectoryLoad)
    assert scenario.workload.source == "other/none.jsonl"


def test_a_question_about_one_is_not_one_about_several() -> None:
    with pytest.raises(UserError, match="ask `compare`"):
        load_scenario("compare").one_deployment()
    with pytest.raises(UserError, match="a comparison needs cells"):
        load_scenario(LEAST).cell_scenarios()
    with pytest.raises(UserError, match="agents"):
        load_scenario(LEAST).agents_or(None)


def test_cells_share_what_they_do_not_say() -> None:
    scenario = load_scenario(
        {**LEAST, "slo": {"e2e_speed_tok_s": 9}, "cells": [{"deployment": "a"}, {"deployment": "b", "slo": {"e2e_speed_tok_s": 8}}]}
    )
    one, two = scenario.cell_scenarios()
    assert (one.deployment, one.slo) == ("a", SLO.e2e(9))
    assert (two.deployment, two.slo) == ("b", SLO.e2e(8))


@pytest.mark.parametrize("name", names("scenarios"))
def test_shipped_scenarios_are_read(name: str) -> None:
    assert load_scenario(name).name == name
