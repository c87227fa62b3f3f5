"""`compare --study`, `compare --systems` and `capacity --attribute` on a tiny scenario: tables, files, keys and sections of the page."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

STUDIES = "{names: [frontier, power_cap, sprint, cost], speeds_tok_s: [30, 90], caps: [0.6]}"


@pytest.fixture(scope="module")
def studied(command: Command, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("studies")
    scenario = folder / "two.yaml"
    text = Path(tiny).read_text(encoding="utf-8").replace("deployment: hgx_h200_v4pro_20tps\n", "")
    cells = "cells:\n  - {deployment: hgx_b200_v4pro_20tps}\n  - {deployment: hgx_h200_v4pro_20tps}\n"
    scenario.write_text(text.replace("ceiling: 32", "ceiling: 8") + f"studies: {STUDIES}\n{cells}", encoding="utf-8")
    result = command("compare", str(scenario), "--set", "phase.min_window_s=5", "--systems", "hgx_h200", "--out", str(folder / "out"))
    assert result.exit_code == 0, result.stderr
    return result.stdout, folder / "out"


def test_each_study_has_a_table_a_figure_with_its_numbers_and_rows(studied: tuple[str, Path]) -> None:
    stdout, out = studied
    page = (out / "report.html").read_text(encoding="utf-8")
    for title in ("Frontier: agents per MW", "Power cap: what lower", "Cost"):
        assert title in stdout
        assert f"<caption>{title}" in page
    for figure in ("frontier", "power-cap", "cost"):
        assert f'<h3 id="{figure}">' in page
        assert f'<a download="{figure}.csv" href="data:text/csv' in page
    rows = list(csv.DictReader((out / "studies.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["study"], row["value"]) for row in rows] == [
        ("frontier", "30.0"),
        ("frontier", "90.0"),
        ("power_cap", "0.6"),
        ("power_cap", "1.0"),
    ]
    document = json.loads((out / "answers.json").read_text(encoding="utf-8"))
    assert len(document["studies"]) == 4
    assert document["costs"][0]["quality"] == {"own": "estimated", "rent": "estimated", "buy": "assumed"}
    assert "contrasts" not in document, "one system alone has nothing to be ranked against"


def test_systems_pick_cells(studied: tuple[str, Path]) -> None:
    document = json.loads((studied[1] / "answers.json").read_text(encoding="utf-8"))
    assert [answer["system"] for answer in document["answers"]] == ["hgx_h200"]


def test_attribution_has_a_table_keys_and_a_sentence(command: Command, tiny: str, tmp_path: Path) -> None:
    words = ["--set", "phase.min_window_s=5", "--set", "search.ceiling=8", "--csv", str(tmp_path), "--html", str(tmp_path / "c.html")]
    result = command("capacity", tiny, "--attribute", *words)
    assert result.exit_code == 0, result.stderr
    assert "What limits hgx_h200 at 40 tok/s & 10 s" in result.stdout
    assert result.stdout.rstrip().splitlines()[-1].startswith("10% more ")
    rows = list(csv.DictReader((tmp_path / "limits.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["resource"] for row in rows} >= {"hbm_bandwidth", "kv_pool", "seats", "links", "host", "power_cap"}
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "What would hold more" in page
    assert '<h3 id="limits_tornado">' in page


def test_a_study_nobody_knows_is_refused(command: Command) -> None:
    result = command("compare", "--study", "fronteer")
    assert result.exit_code == 2
    assert "studies; found 'fronteer'; allowed: frontier, workload, power_cap, limits, sprint, cost, all" in result.stderr
