"""The evidence file: what is written is read again, what is missing stays missing, and broken rows are told by line."""

from dataclasses import replace

import pytest

from simulator.calibration.gpu_evidence import COLUMNS, Row, evidence_text, parse_evidence, refuse_other_machine
from simulator.errors import UserError

ABOUT = {"gpu": "NVIDIA H200", "driver": "570.1", "torch": "2.13.0", "cuda": "13.0", "dry_run": "no"}
ROW = Row(
    cell="gemm/output/m/bf16/tokens=4/k=64/n=96", visit=0, kind="gemm", part="output", model="m", dtype="bf16", size="tokens=4 k=64 n=96",
    status="ok", message="", how="mm, graph", calls=1000, window_s=3.0, time_s=2e-5, time_low_s=1.9e-5, time_high_s=2.2e-5, flops=49152.0,
    bytes=13568.0, moved_bytes=13568.0, bytes_per_s=4.5e6, flop_per_s=1.6e7, watts=412.5, watts_how="energy counter", sm_mhz=1980.0,
    memory_mhz=3201.0, temperature_c=51.0, throttle="power cap", begun="2026-11-25T12:00:00+00:00",
)  # fmt: skip
BARE = replace(
    ROW, visit=1, status="out_of_memory", message='said "no", twice', calls=None, window_s=None, time_s=None, time_low_s=None,
    time_high_s=None, moved_bytes=None, bytes_per_s=None, flop_per_s=None, watts=None, watts_how="", sm_mhz=None, memory_mhz=None,
    temperature_c=None, throttle="",
)  # fmt: skip


def test_goes_through_a_file() -> None:
    found = parse_evidence(evidence_text(ABOUT, [ROW, BARE]), "e.csv")
    assert found.about == ABOUT
    assert found.rows == (ROW, BARE)
    assert found.rows[0].sizes == {"tokens": 4, "k": 64, "n": 96}


def test_missing_watts_stay_missing() -> None:
    text = evidence_text(ABOUT, [replace(ROW, watts=None)])
    assert ",0," not in text.splitlines()[-1].split("mm, graph")[1]
    assert parse_evidence(text, "e.csv").rows[0].watts is None


def test_first_of_doubles_is_kept() -> None:
    found = parse_evidence(evidence_text(ABOUT, [ROW, BARE, replace(ROW, watts=1.0)]), "e.csv")
    assert found.rows == (ROW, BARE)
    assert found.doubles == 1


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "# format: something else\n"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"e\.csv: format; found .*; allowed: 'agentwatt measure-gpu 1'"):
        parse_evidence(text, "e.csv")


def test_lacking_columns_are_named() -> None:
    text = evidence_text(ABOUT, [ROW]).replace(",watts,", ",what,")
    with pytest.raises(UserError, match="columns; found without watts"):
        parse_evidence(text, "e.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("watts", "many", "watts; found 'many'; allowed: a number"),
        ("watts", "-3", "watts; found -3; allowed: a finite number"),
        ("watts", "nan", "watts; found nan; allowed: a finite number"),
        ("calls", "2.5", "calls; found '2.5'; allowed: a number"),
        ("kind", "gem", "kind; found 'gem'; allowed: idle, launch"),
        ("dtype", "fp4", "dtype; found 'fp4'; allowed: bf16, fp8"),
        ("status", "fine", "status; found 'fine'; allowed: ok, unsupported"),
        ("cell", "", "cell; found nothing; allowed: a value"),
        ("visit", "", "visit; found nothing; allowed: a value"),
        ("size", "tokens=many", "size; found 'tokens=many'; allowed: name=number pairs"),
    ],
)
def test_broken_rows_are_told_by_line(column: str, value: str, message: str) -> None:
    lines = evidence_text(ABOUT, [BARE, ROW]).splitlines()
    cells = dict(zip(COLUMNS, lines[-1].replace('"mm, graph"', "mm").replace('"power cap"', "cap").split(","), strict=True))
    broken = "\n".join([*lines[:-1], ",".join({**cells, column: value}.values())])
    with pytest.raises(UserError) as caught:
        parse_evidence(broken, "e.csv")
    assert any(f"e.csv:{len(lines)}: {message}" in str(mistake) for mistake in caught.value.mistakes), str(caught.value)


def test_rows_of_two_machines_are_kept_apart() -> None:
    refuse_other_machine(ABOUT, {**ABOUT, "date": "another"}, "e.csv")
    with pytest.raises(UserError, match="gpu; found 'NVIDIA H100'"):
        refuse_other_machine(ABOUT, {**ABOUT, "gpu": "NVIDIA H100"}, "e.csv")
    with pytest.raises(UserError, match="driver"):
        refuse_other_machine(ABOUT, {**ABOUT, "driver": "1"}, "e.csv")
