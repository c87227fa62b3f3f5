"""`size` on a tiny scenario: tables, keys, files and what it says of bad input."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

QUICK = ["--set", "phase.min_window_s=5"]


def test_plans_have_tables_sums_and_a_sentence(command: Command, tiny: str) -> None:
    result = command("size", tiny, *QUICK, "--agents", "100", "--mw", "1", "--spare", "1")
    assert result.exit_code == 0, result.stderr
    for part in (
        "The purchase for 100 agents with 1 spare instance",
        "MW, by power basis",
        "Money",
        "By hand: hgx_h200",
    ):
        assert part in result.stdout
    assert "The cheapest and least-power plan for 100 agents" in result.stdout
    assert "agents fit" in result.stdout.rstrip().splitlines()[-1]


def test_json_page_and_rows_agree(command: Command, tiny: str, tmp_path: Path) -> None:
    page, growth = tmp_path / "plan.html", ["--set", "size.growth_per_year=1", "--set", "size.growth_years=1"]
    result = command("size", tiny, *QUICK, "-n", "50", "--price", "buy", *growth, "--json", "--html", str(page), "--csv", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    (plan,) = json.loads(result.stdout)["plans"]
    (row,) = csv.DictReader((tmp_path / "plans.csv").read_text(encoding="utf-8").splitlines())
    assert plan["agents"] == 100
    assert plan["systems"] == int(row["systems"]) == -(-100 // plan["agents_per_instance"])
    assert [year["agents"] for year in plan["growth"]] == [50, 100]
    assert len((tmp_path / "growth.csv").read_text(encoding="utf-8").splitlines()) == 3
    text = page.read_text(encoding="utf-8")
    assert "data:text/csv" in text
    assert "<code>agentwatt size" in text
    assert "<script" not in text


def test_what_cannot_be_bought_says_what_would_fit(command: Command, tiny: str) -> None:
    result = command("size", tiny, *QUICK, "--agents", "100000", "--racks", "2")
    assert "No plan for 100,000 agents within 2 racks or nodes" in result.stdout
    assert "Within 2 racks or nodes at most" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"), [(["--price", "borrow"], "size.price"), (["--mw", "0"], "size.power_mw"), ([], "size; found nothing")]
)
def test_bad_demands_are_refused(command: Command, tiny: str, words: list[str], said: str) -> None:
    result = command("size", tiny, *words)
    assert result.exit_code == 2
    assert said in result.stderr
