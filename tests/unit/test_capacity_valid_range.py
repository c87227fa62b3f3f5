"""Where a scenario goes beyond what a measured law covers: said in the notes, per kind of excess, and not where it stays within."""

from pathlib import Path

import pytest

from simulator.capacity import load_scenario, run
from simulator.capacity.valid_range import BEYOND
from tests.unit.hidden_overlay import write_overlay

LAW = {"floor_s": 0.004, "sequence_s": 100e-6, "context_token_s": 0.3e-6, "prefill_token_s": 40e-6, "prefill_pair_s": 10e-9}
PHASE = {"ramp_s": 1, "warmup_s": 1, "min_window_s": 5, "max_s": 20}


def notes(deployment: object, isl: int, osl: int, agents: int) -> list[str]:
    load = {"kind": "fixed", "isl": isl, "osl": osl, "concurrency": agents}
    summary = run(load_scenario({"deployment": deployment, "workload": load, "phase": PHASE, "seeds": 1}))
    return [note.removeprefix(BEYOND) for note in summary.notes if note.startswith(BEYOND)]


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured at up to 16 sequences, 2,048 tokens of context and 512 of a step; serves 32 and 8,192."""
    path = tmp_path_factory.mktemp("overlay") / "overlay.yaml"
    return write_overlay(path, LAW, max_context_tokens=8192, max_seqs=32, kv_blocks=16_384)


def test_within_the_range_nothing_is_said(overlay: Path) -> None:
    assert notes(str(overlay), 1900, 100, 4) == []


def test_each_excess_is_told(overlay: Path) -> None:
    assert notes(str(overlay), 3000, 50, 2) == ["100% of the calls are longer than 2,048 tokens, the longest has 3,050"]
    assert notes(str(overlay), 100, 200, 32) == ["a rank decodes up to 32 calls at once, measured were up to 16"]
    wider = {"extends": str(overlay), "token_budget": 1024}
    assert notes(wider, 1900, 100, 2) == ["a step may take 1,024 prompt tokens, measured were up to 512"]
    assert notes(wider, 500, 100, 2) == [], "no prompt fills it"


def test_a_law_that_says_nothing_of_its_range_warns_of_nothing() -> None:
    load = {"kind": "fixed", "isl": 20_000, "osl": 50}
    summary = run(load_scenario({"deployment": "hgx_h200_v4pro_20tps", "workload": load, "agents": 4, "phase": PHASE, "seeds": 1}))
    assert not any(note.startswith(BEYOND) for note in summary.notes)
