"""Every file and text that a user gives, damaged by chance: it is read, or refused by a told mistake; nothing else, and soon.

`AGENTWATT_FUZZ=2000` draws that many examples of each (docs/fuzzing.md). Trajectory files have theirs in `tests/readers/test_damaged.py`.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.calibration.cell import CellRow, Endpoint, RequestRow
from simulator.calibration.cell_file import cell_line, endpoint_text, read_cells, read_endpoint, read_requests, request_line
from simulator.calibration.evidence import read_rows, rows_text
from simulator.calibration.gpu_evidence import parse_evidence
from simulator.capacity.build import build_world, prepare
from simulator.capacity.document import parse_overrides
from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.sweep_axes import parse_axes
from simulator.capacity.sweep_plan import plan_sweep
from simulator.cli.sweep_journal import SweepJournal
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_engine, load_model, load_system
from simulator.probe.run import resumable
from simulator.report.sweep_frame import finished_rows
from simulator.workload import load_trajectories
from tests.fuzz.damage import damaged, scratched

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "cli" / "tiny.yaml"
FUZZ = int(os.environ.get("AGENTWATT_FUZZ", "25"))
fuzz = settings(max_examples=FUZZ, deadline=20_000, suppress_health_check=list(HealthCheck))
SCENARIOS = [TINY, *sorted((ROOT / "scenarios").glob("*.yaml"))]
PROFILES: dict[str, Callable[[Path], Any]] = {
    "systems": load_system, "models": load_model, "engines": load_engine, "deployments": load_deployment,
}  # fmt: skip
CELL = CellRow("ladder 4 #0", "decode", 0, {"batch": 4.0}, 4, 1.0, 2.5, 1, 0, {"decode_s": 0.5, "decode_count": 1.0}, {"running": 4.0})
REQUEST = RequestRow("ladder 4 #0", 0, 0, True, 1.0, 1.2, 2.4, 2.5, 512, 16, 512, 0, 16, 16)
ENDPOINT = Endpoint("http://127.0.0.1:1", "m", "vllm", "1", True, True, True, True, True, 4096, 4, 16, 100, 2048, 1000)


@cache
def content(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@st.composite
def yaml_texts(draw: st.DrawFn, paths: list[Path]) -> str:
    """A file of `paths`, its values or its text damaged."""
    path = draw(st.sampled_from(paths))
    if draw(st.integers(0, 3)):
        return yaml.safe_dump(draw(damaged(content(path))), allow_unicode=True, sort_keys=False)
    return draw(scratched(path.read_text(encoding="utf-8")))


@fuzz
@given(text=yaml_texts(SCENARIOS))
def test_scenarios(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    with suppress(UserError):
        load_scenario(file)


@fuzz
@given(changed=damaged(content(TINY)))
def test_small_scenarios_up_to_their_world(changed: Any) -> None:
    with suppress(UserError):
        scenario = load_scenario(changed)
        build_world(prepare(scenario, scenario.seeds[0]), scenario.agents_or(None))


@pytest.mark.parametrize("kind", PROFILES)
@fuzz
@given(data=st.data())
def test_profiles(kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / f"{kind}.yaml"
    file.write_text(data.draw(yaml_texts(sorted((ROOT / "hardware_profiles" / kind).glob("*.yaml")))), encoding="utf-8")
    with suppress(UserError):
        PROFILES[kind](file)


FIELDS = st.sampled_from(
    ["agents", "seeds", "slo.speed_tok_s", "phase.max_s", "phase.ramp_s", "workload.osl", "workload", "deployment.workers", "deployment",
     "deployment.token_budget", "deployment.kv_pool_tokens", "deployment.block_tokens", "deployment.max_seqs", "deployment.drafts",
     "deployment.ranks", "deployment.floor_s", "power.cap_w", "search.ceiling", "cells.0.deployment", "x.y", "a..b", "", "=", "agents.x"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        ["", "1", "0", "-1", "1e9", "1.0e+18", "9" * 40, ".nan", "-.inf", "null", "true", "[]", "{}", "{a: [}", "*x", "hgx_h200", "../x"]
    ),
    st.sampled_from(["1..8", "1..8/3", "5..1", "1..1000000000", "0.1..0.2", "0.1..0.2/99999999999", "1,2,2", ",,", "[1,2]..3", "1..2/0"]),
    st.text(max_size=12),
)


@fuzz
@given(st.lists(st.tuples(FIELDS, VALUES), min_size=1, max_size=3))
def test_set_on_the_command_line(changes: list[tuple[str, str]]) -> None:
    with suppress(UserError):
        scenario = load_scenario(TINY, parse_overrides([f"{field}={value}" for field, value in changes]))
        build_world(prepare(scenario, scenario.seeds[0]), scenario.agents_or(None))


@fuzz
@given(st.lists(st.tuples(FIELDS, VALUES), min_size=1, max_size=2), st.sampled_from([None, 1, 7]))
def test_vary_on_the_command_line(axes: list[tuple[str, str]], latin: int | None) -> None:
    with suppress(UserError):
        plan_sweep(TINY, parse_axes([f"{field}={value}" for field, value in axes]), {}, latin)


@cache
def evidence_lines() -> list[str]:
    rows = read_rows(ROOT / "hardware_profiles" / "evidence" / "systems.csv")
    return rows_text(rows[:4]).splitlines()


CELLS = st.sampled_from(["", "x", "0", "-1", "1.5", "1e400", "nan", "inf", "9" * 40, "=1+1", "\x00", '"', "agg", "fit", "é", "10**3"])


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A few rows of measured evidence, some cells or characters wrong."""
    if draw(st.booleans()):
        return draw(scratched("\n".join(evidence_lines())))
    lines = [line.split(",") for line in evidence_lines()]
    for _ in range(draw(st.integers(1, 3))):
        line = lines[draw(st.integers(0, len(lines) - 1))]
        line[draw(st.integers(0, len(line) - 1))] = draw(CELLS)
    return "\n".join(map(",".join, lines))


@fuzz
@given(text=tables())
def test_measured_rows(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The evidence that ships and the file that `validate FILE.csv` is given are read by the same function."""
    file = tmp_path_factory.getbasetemp() / "rows.csv"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(UserError):
        read_rows(file)
    with suppress(UserError):
        parse_evidence(text, "gpu.csv")


@fuzz
@given(
    damaged([json.loads(cell_line(CELL))]), damaged([json.loads(request_line(REQUEST, 0.0))]), damaged(json.loads(endpoint_text(ENDPOINT)))
)
def test_rows_of_a_calibration_that_goes_on(cells: Any, requests: Any, endpoint: Any) -> None:
    with suppress(UserError):
        rows = resumable(read_cells("\n".join(map(json.dumps, cells))), read_requests("\n".join(map(json.dumps, requests))))
        for cell in rows.cells:
            assert cell.failed <= cell.requests
            cell_line(cell)
        for request in rows.requests:
            request_line(request, 0.0)
    with suppress(UserError):
        endpoint_text(read_endpoint(json.dumps(endpoint)))


@pytest.fixture(scope="module")
def sweep_table() -> bytes:
    from simulator.capacity.sweep import play_sweep
    from simulator.report.sweep_frame import parquet_bytes

    plan = plan_sweep(TINY, parse_axes(["agents=1,2"]), {"sweep.ask": "run"}, None)
    return parquet_bytes(play_sweep(plan, {}, None, 1, None), "agentwatt sweep")


@fuzz
@given(scratches=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=9)), max_size=4), end=st.integers(0, 10**6))
def test_a_sweep_s_table_that_was_damaged_is_whole_or_nothing(sweep_table: bytes, scratches: list[tuple[int, bytes]], end: int) -> None:
    content = bytearray(sweep_table)
    for at, bytes_ in scratches:
        place = at % len(content)
        content[place : place + len(bytes_)] = bytes_
    found = finished_rows(bytes(content[: end % (2 * len(content))]))
    assert len(found) <= 2


@fuzz
@given(lines=st.lists(st.one_of(damaged({"key": "k", "row": {"status": "answered"}}).map(json.dumps), st.text(max_size=9)), max_size=4))
def test_a_sweep_s_journal_that_was_damaged(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "sweep.journal.jsonl"
    file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    journal = SweepJournal(file)
    assert len(journal.rows) <= len(lines) + 9
    journal.close()


def bomb() -> str:
    """Nine anchors, each ten of the one before: a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 10)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(), "at most 20,000"),
        ("a: " + 5000 * "[", "nested too deeply"),
        ("a: &a [*a]", "holds itself"),
        ("# " + 5 * 10**6 * "x", "at most 4,194"),
    ],
    ids=["bomb", "deep", "circle", "long"],
)
def test_a_yaml_file_that_would_not_end(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    for read in (load_scenario, load_system):
        with pytest.raises(UserError, match=words):
            read(file)


def test_a_value_on_the_command_line_that_would_not_end() -> None:
    inner = bomb().replace("\n", ", ")
    with pytest.raises(UserError, match="at most 20,000"):
        parse_overrides([f"workload={{{inner}}}"])
    with pytest.raises(UserError, match="nested too deeply"):
        parse_axes(["agents=" + 5000 * "["])


@pytest.mark.parametrize("name", [5000 * "x", "a\0b"], ids=["long", "null"])
def test_names_that_no_file_can_have(name: str) -> None:
    for read in (load_scenario, load_system, load_deployment, load_trajectories):
        for suffix in ("", ".yaml"):
            with pytest.raises(UserError):
                read(name + suffix)
    scenario = load_scenario(TINY, {"workload": {"kind": "trajectories", "source": name + ".jsonl"}})
    with pytest.raises(UserError, match="no such file or folder"):
        prepare(scenario, 1)
