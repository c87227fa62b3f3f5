"""A calibration from end to end against a real engine, within 75 seconds: slots found, their hits predicted, the overlay run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli.main import app
from simulator.hardware.load import load_deployment
from tests.live.engines import Engine

pytestmark = pytest.mark.live

SLOTS, CONTEXT_TOKENS = 4, 1024
RUN = """
deployment: {overlay}
workload: {{kind: fixed, isl: 300, osl: 30, concurrency: 2}}
phase: {{ramp_s: 1, warmup_s: 1, min_window_s: 20, max_s: 60}}
seeds: 1
"""


def agentwatt(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_llamacpp_is_calibrated_in_little_more_than_a_minute(short_llamacpp: Engine, tmp_path: Path) -> None:
    """How good the law is depends on what else the machine does, so nothing is asked of it here but that it is there and was checked."""
    out = tmp_path / "calibration"
    tables = agentwatt("calibrate", short_llamacpp.url, "--budget", "75s", "--yes", "--out", str(out))
    assert "The hold-out replay" in tables
    report = json.loads((out / "report.json").read_text())
    traits = {name: trait["best"] for name, trait in report["fit"]["traits"].items()}
    assert (traits["prefix_cache"], traits["block_tokens"], traits["max_seqs"]) == ("slots", 1, SLOTS)
    assert report["fit"]["clocks"] == {"prefill": "server timings", "decode": "server timings"}
    levels = {level["agents"]: level for level in report["check"]["levels"]}
    assert 1 in levels, "agents, which nothing was fitted to, were replayed"
    assert max(abs(level["error"]["cache_hit"]) for level in levels.values()) < 0.05
    assert report["check"]["verdict"] in ("trust", "care", "doubt")

    overlay = out / "overlay.yaml"
    deployment = load_deployment(overlay)
    pool = deployment.pools[0]
    assert (pool.prefix_cache, pool.max_seqs, deployment.max_context_tokens) == ("slots", SLOTS, CONTEXT_TOKENS)
    scenario = tmp_path / "run.yaml"
    scenario.write_text(RUN.format(overlay=overlay), encoding="utf-8")
    answer = json.loads(agentwatt("run", str(scenario), "--json"))
    assert answer["badge"] == "calibrated"
    assert answer["output_tok_s"] > 0
