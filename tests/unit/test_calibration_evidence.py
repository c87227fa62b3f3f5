"""Evidence rows: what a file must hold, how mistakes are told, the split, and the files that ship."""

import csv
from collections import Counter
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from simulator.calibration.evidence import COLUMNS, SPLITS, read_rows, rows_text, shipped_rows, split_of, with_split
from simulator.catalog import folder
from simulator.errors import UserError

HEADER = "id,system,model,engine,isl,osl,concurrency,gpus,dp,tpot_ms,source"
GOOD = "a,hgx_h200,deepseek_v4_pro,sglang,8192,1024,16,8,1,25.8,a page"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def mistakes(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_rows(path)
    return str(error.value)


def test_a_row_and_its_defaults(tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path, HEADER, GOOD))
    assert (row.isl, row.osl, row.concurrency, row.gpus, row.tp, row.dp, row.ep) == (8192, 1024, 16, 8, 8, 1, 1)
    assert row.measured == {"tpot_ms": 25.8}
    assert isnan(row.ttft_ms)
    assert row.mode == "agg"
    assert row.split == split_of(row.curve)


def test_seats_and_statistic(tmp_path: Path) -> None:
    header, good = HEADER + ",seats,statistic", GOOD + ",32,median"
    (row,) = read_rows(written(tmp_path, header, good))
    assert (row.seats, row.statistic) == (32, "median")
    assert "statistic; found 'mode'; allowed: mean, median" in mistakes(written(tmp_path, header, good.replace("median", "mode")))


def test_tp_left_out_is_what_dp_leaves(tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path, HEADER, GOOD.replace(",8,1,", ",8,4,")))
    assert (row.tp, row.dp) == (2, 4)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (GOOD.replace("8192", "many"), "mine.csv:3: isl; found 'many'; allowed: a whole number, at least 1"),
        (GOOD.replace("8192", "0"), "mine.csv:3: isl; found '0'"),
        (GOOD.replace("25.8", "-1"), "mine.csv:3: tpot_ms; found '-1'; allowed: a number above 0"),
        (GOOD.replace("25.8", "nan"), "mine.csv:3: tpot_ms; found 'nan'"),
        (GOOD.replace("25.8", ""), "mine.csv:3: row; found nothing measured"),
        (GOOD.replace("hgx_h200", ""), "mine.csv:3: system; found nothing"),
        (GOOD + ",more", "mine.csv:3: row; found more or fewer cells than columns"),
        (GOOD.replace("a,", "first,", 1), "mine.csv:3: id; found 'first'; allowed: an id of its own; line 2 has it"),
    ],
)
def test_mistakes_are_told_with_line_and_field(tmp_path: Path, line: str, told: str) -> None:
    assert told in mistakes(written(tmp_path, HEADER, GOOD.replace("a,", "first,", 1), line))


def test_every_mistake_of_a_file_at_once(tmp_path: Path) -> None:
    told = mistakes(written(tmp_path, HEADER, GOOD.replace("16", "x"), GOOD.replace("a,", "b,", 1).replace("1024", "-3")))
    assert told.count("mine.csv:") == 2


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace(",isl", ""), "isl; found no such column"),
        (HEADER.replace("tpot_ms", "tpot_mss"), "did you mean 'tpot_ms'?"),
        (HEADER.replace("tpot_ms", "note"), "columns; found nothing measured"),
    ],
)
def test_mistakes_of_the_header(tmp_path: Path, header: str, told: str) -> None:
    assert told in mistakes(written(tmp_path, header, GOOD))


def test_an_empty_or_absent_file_is_a_mistake(tmp_path: Path) -> None:
    assert "no rows" in mistakes(written(tmp_path, HEADER))
    assert "cannot be read" in mistakes(tmp_path / "none.csv")


def test_rows_survive_being_written(tmp_path: Path) -> None:
    rows = shipped_rows()[-30:]
    path = tmp_path / "again.csv"
    path.write_text(rows_text(rows), encoding="utf-8")
    again = read_rows(path)
    assert [row.measured for row in again] == [row.measured for row in rows]
    assert [replace(row, ttft_ms=0, tpot_ms=0, tok_s_gpu=0, watts=0) for row in again] == [
        replace(row, ttft_ms=0, tpot_ms=0, tok_s_gpu=0, watts=0) for row in rows
    ]


def test_neighbours_of_a_curve_are_never_split() -> None:
    """Rows that differ in concurrency, version or date only lie on one side; a mode of its own decides for disaggregated ones."""
    sides: dict[str, set[str]] = {}
    for row in shipped_rows():
        assert row.split == with_split(row).split
        sides.setdefault(row.curve, set()).add(row.split)
    assert all(len(side) == 1 for side in sides.values())
    assert all(row.split == "check" for row in shipped_rows() if row.mode == "disagg")


def test_the_split_is_about_half() -> None:
    count = Counter(row.split for row in shipped_rows() if row.mode == "agg")
    assert 0.45 < count["fit"] / sum(count.values()) < 0.55


def test_the_shipped_serving_rows() -> None:
    rows = shipped_rows()
    assert Counter(row.mode for row in rows) == {"agg": 1332 + 34, "disagg": 490 + 7}
    assert len({row.id for row in rows}) == len(rows)


@pytest.mark.parametrize(("stem", "count"), [("operators", 295), ("replays", 40)])
def test_other_evidence_names_source_and_split(stem: str, count: int) -> None:
    with (folder("evidence") / f"{stem}.csv").open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    assert len(records) == count
    assert all(record["source"] and record["split"] in SPLITS for record in records)
    assert len({record["id"] for record in records}) == count


def test_the_readme_tells_every_column() -> None:
    text = (folder("evidence") / "README.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| ")]
    for column in COLUMNS:
        assert any(column in line.split("|")[1] for line in table), column


def test_watts_that_a_power_law_was_fitted_to_are_no_check() -> None:
    rows = [row for row in shipped_rows() if "watts" in row.measured]
    assert len(rows) == 5
    assert all((row.side("watts"), row.side("tpot_ms")) == ("fit", "check") for row in rows)
