"""The `openai` package against `serve`: what the client measures by its own clock is what the simulation of the same load says."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from simulator.capacity import load_scenario
from simulator.capacity.build import build_world, prepare
from simulator.engine import simulate_reference
from simulator.engine.world import CALL_COLUMNS
from simulator.units import PS_PER_S
from tests.cli.test_serve import server

openai = pytest.importorskip("openai", reason="the openai package is not installed")

PROMPT_TOKENS, ANSWER_TOKENS, CALLS = 2000, 50, 4
SCENARIO = """
deployment: {extends: hgx_h200_v4pro_20tps, drafts: 0}
workload: {kind: fixed, isl: 2000, osl: 50, concurrency: 1}
"""


def predicted(scenario: str) -> tuple[float, float]:
    """TTFT and time per token of one call after another, as simulated."""
    world = build_world(prepare(load_scenario(scenario), 1), 1)
    world = world._replace(stop=world.stop._replace(max_plays_per_agent=1))
    row = dict(zip(CALL_COLUMNS, simulate_reference(world, events=False, verify=False).calls[0], strict=True))
    return (row["first_ps"] - row["send_ps"]) / PS_PER_S, (row["last_ps"] - row["first_ps"]) / PS_PER_S / (ANSWER_TOKENS - 1)


def test_the_client_measures_what_the_simulation_says(tmp_path: Path) -> None:
    scenario = tmp_path / "alone.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    ttft_s, tpot_s = predicted(str(scenario))
    measured = []
    with server(str(scenario)) as (process, port, _), openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none") as client:
        for number in range(CALLS):
            words = " ".join(f"w{number}x{place}" for place in range(PROMPT_TOKENS - 3))  # a message costs 3 tokens besides its words
            sent = time.perf_counter()
            stream = client.chat.completions.create(
                model="deepseek_v4_pro",
                messages=[{"role": "user", "content": words}],
                max_tokens=ANSWER_TOKENS,
                stream=True,
                stream_options={"include_usage": True},
                extra_body={"ignore_eos": True},
            )
            times, usage = [], None
            for chunk in stream:
                usage = chunk.usage or usage
                if chunk.choices and chunk.choices[0].delta.content:
                    times.append(time.perf_counter() - sent)
            assert usage is not None
            assert (usage.prompt_tokens, usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
            measured.append((times[0], (times[-1] - times[0]) / (ANSWER_TOKENS - 1)))
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="other", prompt="a")
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            client.completions.create(model="deepseek_v4_pro", prompt="a", max_tokens=10**6)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    best_ttft_s, best_tpot_s = min(ttft for ttft, _ in measured), min(tpot for _, tpot in measured)
    print(f"TTFT {1000 * ttft_s:.1f} ms predicted, {1000 * best_ttft_s:.1f} ms measured (least of {CALLS})")
    print(f"TPOT {1000 * tpot_s:.2f} ms predicted, {1000 * best_tpot_s:.2f} ms measured (least of {CALLS})")
    assert ttft_s < best_ttft_s < ttft_s + 0.05, "the least measured is what was simulated, and the client's own time"
    assert best_tpot_s == pytest.approx(tpot_s, rel=0.05)
