"""A law that `serve` hides behind sockets comes back from a calibration: coefficients, KV blocks, block size, kind of cache."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.calibration.cell import Endpoint
from simulator.calibration.live_cells import make_cell
from simulator.calibration.live_fit import Fit, fit_rows
from simulator.calibration.live_overlay import Known, Measured, overlay_text
from simulator.hardware.deployment import LawCoefficients
from simulator.probe.client import Client
from simulator.probe.execute import Setting
from simulator.probe.metrics import Metrics, dialect_named
from simulator.probe.prompts import Prompts
from simulator.probe.run import Clock, Rows, run
from simulator.probe.survey import survey
from simulator.wire.address import address_of
from tests.cli.test_serve import server

LAW = {"floor_s": 0.004, "sequence_s": 200e-6, "context_token_s": 2e-6, "prefill_token_s": 60e-6, "prefill_pair_s": 15e-9}
KV_BLOCKS, BLOCK_TOKENS, CONTEXT_TOKENS, BUDGET_TOKENS = 150, 32, 2048, 512
WITHIN = 0.03
ASKED = (
    ("floor", {"prompt": 2, "turns": 4}),
    *(("prefill", {"prompt": prompt, "turns": 2}) for prompt in (64, 256, 700, 1200, 1900)),
    *(("decode", {"batch": batch, "context": 64, "output": 24}) for batch in (1, 4, 12)),
    ("context", {"batch": 1, "context": 1900, "output": 16, "wait_s": 0.6}),
    ("context", {"batch": 4, "context": 900, "output": 16, "wait_s": 0.6}),
    ("context", {"batch": 2, "context": 1500, "output": 16, "wait_s": 0.6}),
    ("granularity", {"prompt": 1024}),
    ("branch", {"shared": 256, "tail": 256}),
    ("capacity", {"prompts": 8, "prompt": 1025}),
)


def hidden(path: Path) -> None:
    """A scenario that serves the law, written beside its deployment."""
    yes = (True,) * 5
    told = Endpoint("http://none", "hidden", "vllm", None, *yes, CONTEXT_TOKENS, 16, BLOCK_TOKENS, None, BUDGET_TOKENS, 1000)
    measured = Measured.guess(told, 1.0, 1.0)
    nan = float("nan")
    law = LawCoefficients(
        LAW["floor_s"], 0.0, nan, nan, nan, 0.0, LAW["prefill_token_s"], LAW["prefill_pair_s"],
        context_token_s=LAW["context_token_s"], sequence_s=LAW["sequence_s"],
    )  # fmt: skip
    known = {**measured.known, "kv_pool_tokens": Known(KV_BLOCKS * BLOCK_TOKENS, "measured", "hidden")}
    (path.parent / "hidden.yaml").write_text(overlay_text(replace(measured, law=law, known=known), "hidden", "a test", []))
    path.write_text(f"deployment: {path.parent / 'hidden.yaml'}\nworkload: {{kind: fixed, isl: 64, osl: 8, concurrency: 1}}\n")


async def calibrated(port: int) -> Fit:
    """The cells asked over sockets, and fitted; what the server tells of its cache is not looked at."""
    clock, rows = Clock(), Rows()
    client = Client(address_of(f"http://127.0.0.1:{port}", "calibrate", "URL"), None, clock, 30.0)
    try:
        endpoint = await survey(client, None, 1)
        dialect = dialect_named(endpoint.dialect)
        assert dialect is not None
        setting = Setting(endpoint, client, clock, Prompts(endpoint, 2), Metrics(client, str(endpoint.facts["metrics_path"]), dialect))
        cells = [make_cell(kind, params, 1) for kind, params in ASKED]
        await run(setting, lambda done, _: [] if done else cells, 60.0, rows, lambda *_: None, lambda _: None)
    finally:
        client.close()
    endpoint = replace(endpoint, kv_blocks=None, block_tokens=None, token_budget=BUDGET_TOKENS)  # the last takes long to find
    return fit_rows(endpoint, rows.cells, rows.requests)


def test_a_served_law_comes_back(tmp_path: Path) -> None:
    hidden(tmp_path / "served.yaml")
    with server(str(tmp_path / "served.yaml")) as (process, port, _):
        fit = asyncio.run(calibrated(port))
        process.send_signal(signal.SIGINT)
    print({one.name: f"{one.value / LAW[one.name] - 1:+.2%}" for one in fit.coefficients if one.name in LAW})
    for one in fit.coefficients:
        if one.name in LAW:
            assert one.low <= LAW[one.name] <= one.high or one.value == pytest.approx(LAW[one.name], rel=WITHIN), one
    assert {one.name for one in fit.coefficients} >= set(LAW)
    found = {name: trait.value for name, trait in fit.traits.items()}
    assert isinstance(found["kv_blocks"], int)
    assert abs(found["kv_blocks"] - KV_BLOCKS) <= 1
    assert (found["block_tokens"], found["prefix_cache"], found["eviction"]) == (BLOCK_TOKENS, "blocks", "lru")
