"""`drift` as people and cron jobs run it, on a served law: it holds while the law is the same, and does not once it has slowed."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.cli.exit_codes import ExitCode
from tests.cli.conftest import Command
from tests.cli.process import listening
from tests.unit.fake_endpoint import serving
from tests.unit.fake_engine import Engine
from tests.unit.hidden_overlay import write_overlay

LAW = {"floor_s": 0.002, "sequence_s": 50e-6, "context_token_s": 0.3e-6, "prefill_token_s": 40e-6, "prefill_pair_s": 10e-9}
SMALL = {"max_context_tokens": 1024, "max_seqs": 8}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an endpoint with the law."""
    path = write_overlay(tmp_path_factory.mktemp("served") / "served.yaml", LAW, **SMALL)
    scenario = path.with_name("scenario.yaml")
    scenario.write_text(f"deployment: {path}\nworkload: {{kind: fixed, isl: 200, osl: 20, concurrency: 1}}\n", encoding="utf-8")
    with listening("serve", str(scenario), "--port", "0", "--model-name", "hidden") as (process, port, _):
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_an_overlay_of_the_same_law_holds(command: Command, served: str, tmp_path: Path) -> None:
    overlay, out = write_overlay(tmp_path / "same.yaml", LAW, **SMALL), tmp_path / "check"
    result = command("drift", served, "--against", str(overlay), "--yes", "--out", str(out))
    assert result.exit_code == ExitCode.OK, result.output
    assert "plan: about 18 cells, " in result.stderr
    assert "prompt tokens and" in result.stderr
    assert "The overlay holds: times differ in prefill by " in result.stdout
    assert "decode batch=8" in result.stdout
    found = json.loads((out / "drift.json").read_text())
    assert found["holds"] is True
    assert max(map(abs, found["changes"].values())) < 0.08
    assert {path.name for path in out.iterdir()} == {"endpoint.json", "plan.json", "requests.jsonl", "cells.jsonl", "drift.json"}


def test_an_overlay_of_a_law_that_has_slowed_does_not_hold(command: Command, served: str, tmp_path: Path) -> None:
    """Served steps take 20 % longer than the overlay says, and its context is another."""
    overlay = write_overlay(tmp_path / "quick.yaml", LAW, 1 / 1.2, **(SMALL | {"max_context_tokens": 1000}))
    result = command("drift", served, "--against", str(overlay), "--yes", "--json", "--out", str(tmp_path / "check"))
    assert result.exit_code == ExitCode.DIFFERS, result.output
    found = json.loads(result.stdout)
    assert found["holds"] is False
    assert found["changes"] == {"prefill": pytest.approx(0.2, abs=0.08), "decode": pytest.approx(0.2, abs=0.08)}
    assert re.match(r"The overlay does not hold: prefill takes \d\d% longer and decode takes \d\d% longer than it says", found["sentence"])
    assert found["sentence"].endswith("Calibrate again.")
    assert found["settings"] == ["max_context_tokens was 1000 and is 1024"]


def test_the_plan_is_shown_and_nothing_is_run(command: Command, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("drift", served, "--against", str(write_overlay(tmp_path / "o.yaml", LAW, **SMALL)), "--plan")
    assert result.exit_code == ExitCode.OK, result.output
    assert "plan: about 18 cells" in result.stderr
    assert not (tmp_path / "drift").exists()


def test_an_endpoint_that_is_lost_is_no_verdict(command: Command, tmp_path: Path) -> None:
    overlay, out = write_overlay(tmp_path / "o.yaml", LAW), tmp_path / "check"
    engine = Engine({40: "die"}, step_s=0.0)
    with serving(engine):
        result = command("drift", engine.url, "--against", str(overlay), "--yes", "--out", str(out))
    assert result.exit_code == ExitCode.ENDPOINT_LOST, result.output
    assert "cannot be reached" in result.stderr
    assert f"to go on: agentwatt drift {engine.url} --against {overlay} --budget 120s --out {out} --resume" in result.stderr


def test_mistakes(command: Command, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("extends: hgx_h200_v4pro_20tps\n", encoding="utf-8")
    for against, said in (("nowhere.yaml", "nowhere.yaml"), (str(tmp_path / "plain.yaml"), "a measured law in one pool")):
        result = command("drift", "http://127.0.0.1:9", "--against", against, "--yes")
        assert result.exit_code == ExitCode.BAD_INPUT
        assert said in result.stderr
