"""`agentwatt validate`: tables and JSON of a file's rows, both kinds of columns, and the messages that bad rows get."""

import csv
import json
from pathlib import Path

import pytest

from simulator.calibration.evidence import read_rows
from tests.cli.conftest import Command
from tests.unit.page_checks import HOSTILE, assert_no_formula, look

HEADER = "id,system,model,weights,engine,isl,osl,concurrency,gpus,ttft_ms,tpot_ms,source,split"
ROWS = (
    "one,hgx_h200,llama_3_1_8b,fp8,vllm,1000,50,4,1,60,6.0,mine,check",
    "two,hgx_h200,llama_3_1_8b,fp8,vllm,1000,50,8,1,,7.0,mine,fit",
    "far,hgx_x,llama_3_1_8b,fp8,vllm,1000,50,8,1,,7.0,mine,fit",
)
SILICON = (
    "id,silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,tp_size,attention_dp_size,moe_tp_size,"
    "moe_ep_size,silicon_ttft_ms,silicon_tpot_ms",
    *(
        f"{key},source_file=2026-04-06.csv; silicon_concurrency=4; measured=2026-03-01T0; wip={wip},vllm,0.18,"
        "meta-llama/Llama-3.1-8B-Instruct,h200_sxm,fp8,agg,1000,50,1,1,1,1,60.0,6.0"
        for key, wip in (("a", False), ("b", True))
    ),
)


@pytest.fixture
def measured(tmp_path: Path) -> str:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join((HEADER, *ROWS)) + "\n", encoding="utf-8")
    return str(path)


def test_json_has_a_record_for_each_measured_quantity(command: Command, measured: str) -> None:
    result = command("validate", measured, "--json")
    assert result.exit_code == 0, result.stderr
    records = json.loads(result.stdout)
    assert [(r["id"], r["quantity"], r["split"]) for r in records] == [
        ("one", "ttft_ms", "check"), ("one", "tpot_ms", "check"), ("two", "tpot_ms", "fit"),
    ]  # fmt: skip
    assert list(records[0]) == ["id", "system", "model", "engine", "quantity", "split", "measured", "predicted", "error"]
    for record in records:
        assert record["error"] == pytest.approx(record["predicted"] / record["measured"] - 1)
    assert result.stdout == command("validate", measured, "--json").stdout


def test_tables_keep_fit_and_check_apart_and_list_what_is_left_out(command: Command, measured: str) -> None:
    result = command("validate", measured)
    assert result.exit_code == 0, result.stderr
    for words in ("check", "fit", "By system", "By engine", "Missed by most", "Not predicted: 1 of 3 rows", "no profile of system hgx_x"):
        assert words in result.stdout


def test_one_quantity_and_one_system(command: Command, measured: str) -> None:
    records = json.loads(command("validate", measured, "--json", "--quantity", "ttft_ms", "--system", "hgx_h200").stdout)
    assert [(r["id"], r["quantity"]) for r in records] == [("one", "ttft_ms")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--quantity", "tpot"], "--quantity; found 'tpot'; allowed: ttft_ms, tpot_ms, tok_s_gpu, watts; did you mean 'tpot_ms'?"),
        (["--system", "hgx_h20"], "--system; found 'hgx_h20'; allowed: hgx_h200, hgx_x; did you mean 'hgx_h200'?"),
    ],
)
def test_bad_options(command: Command, measured: str, words: list[str], told: str) -> None:
    result = command("validate", measured, *words)
    assert result.exit_code == 2
    assert told in result.stderr


def test_bad_rows_are_told_with_line_and_field(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join((HEADER, ROWS[0].replace("1000", "long"), ROWS[1].replace("7.0", "0"))) + "\n", encoding="utf-8")
    result = command("validate", str(path))
    assert result.exit_code == 2
    assert "bad.csv:2: isl; found 'long'" in result.stderr
    assert "bad.csv:3: tpot_ms; found '0'" in result.stderr


def test_the_columns_of_silicon_fit_are_recognised_and_cleaning_is_told(command: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "silicon_fit.csv", tmp_path / "rows.csv"
    path.write_text("\n".join(SILICON) + "\n", encoding="utf-8")
    result = command("validate", str(path), "--json")
    assert result.exit_code == 0, result.stderr
    assert {record["id"] for record in json.loads(result.stdout)} == {"a"}
    assert "dropped: 1 rows, agg: work in progress" in result.stderr
    written = command("validate", str(path), "--rows", str(out))
    assert written.exit_code == 0, written.stderr
    assert [row.id for row in read_rows(out)] == ["a"]


def test_the_report_is_one_page_with_a_plot_for_each_quantity(command: Command, measured: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert command("validate", measured, "--html", str(page)).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg ") == 2
    assert "TPOT is missed by" in text
    assert {name: len(rows) - 1 for name, rows in look(text).items()} == {"scatter-ttft_ms": 1, "scatter-tpot_ms": 2}


def test_hostile_names_of_rows_stay_text(command: Command, tmp_path: Path) -> None:
    path, page = tmp_path / "mine.csv", tmp_path / "report.html"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER.split(","), [HOSTILE, *ROWS[0].split(",")[1:-2], HOSTILE, "check"]])
    result = command("validate", str(path), "--html", str(page))
    assert result.exit_code == 0, result.stderr
    text = page.read_text(encoding="utf-8")
    assert look(text)["scatter-ttft_ms"][1][0].startswith("'=cmd|")
    assert "&lt;script&gt;" in text
    assert "\x1b" not in result.stdout
    assert command("validate", str(path), "--rows", str(tmp_path / "rows.csv")).exit_code == 0
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert_no_formula(list(csv.reader(file)))
    assert [row.id for row in read_rows(tmp_path / "rows.csv")] == [HOSTILE]


def test_a_silicon_file_with_a_broken_column_is_a_mistake(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "silicon_fit.csv"
    path.write_text("\n".join((SILICON[0].replace("isl,", ""), SILICON[1].replace("1000,", ""))) + "\n", encoding="utf-8")
    result = command("validate", str(path))
    assert result.exit_code == 2
    assert "isl" in result.stderr
