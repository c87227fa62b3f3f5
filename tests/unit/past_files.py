"""Runs of a law that a test knows, as the files in which benchmarks leave them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from simulator.calibration.cell import Cell, Span, Turn
from simulator.calibration.past_run import CSV_COLUMNS, PastRequest
from tests.unit.stand_in import StandIn, hidden_pool

EPOCH_S = 1_790_000_000


def played(law: Mapping[str, float], cell: Cell, budget: int, seats: int, noise: float = 0.0) -> list[PastRequest]:
    """The requests of a cell as a client sees them, in order of start, on a server with the law."""
    server = StandIn(hidden_pool(dict(law), blocks=4000, budget=budget, seats=seats), 16, noise=noise, metrics=False)
    server.run(cell)
    rows = [
        PastRequest(
            row.sent_s, row.first_s or 0.0, row.end_s, row.tpot_s, row.asked_prompt_tokens, row.asked_output_tokens, row.cached_tokens,
            f"c{row.session}",
        )
        for row in server.requests
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row.start_s)


def benchmark(clients: int, each: int) -> Cell:
    """Clients in a closed loop with prompts and answers of drawn lengths, nothing shared."""
    draw = np.random.default_rng(clients)
    sessions = tuple(
        tuple(
            Turn((Span(1000 * c + n, 0, int(draw.choice([64, 200, 500, 1200, 1700]))),), int(draw.integers(2, 96)), draw.exponential(0.02))
            for n in range(each)
        )
        for c in range(clients)
    )
    return Cell("benchmark", "replay", 1, {}, clients, sessions)


def conversations(clients: int, turns: int) -> Cell:
    """Clients whose prompts grow from turn to turn."""
    draw = np.random.default_rng(clients)
    sessions = tuple(
        tuple(Turn((Span(c, 0, 300 + 250 * n),), int(draw.integers(2, 60)), draw.exponential(0.05)) for n in range(turns))
        for c in range(clients)
    )
    return Cell("conversations", "replay", 1, {}, clients, sessions)


def aiperf(requests: Sequence[PastRequest], cached: bool = False) -> str:
    """``profile_export.jsonl`` of AIPerf 0.13."""
    lines = []
    for number, one in enumerate(requests):
        values = {
            "time_to_first_token": (1e3 * (one.first_s - one.start_s), "ms"),
            "request_latency": (1e3 * (one.end_s - one.start_s), "ms"),
            "input_sequence_length": (one.prompt_tokens, "tokens"),
            "output_sequence_length": (one.output_tokens, "tokens"),
            **({"inter_token_latency": (1e3 * one.tpot_s, "ms")} if one.tpot_s else {}),
            **({"usage_prompt_cache_read_tokens": (one.cached_tokens, "tokens")} if cached else {}),
        }
        about = {
            "conversation_id": one.conversation if cached else f"r{number}",
            "turn_index": 0,
            "request_start_ns": round((EPOCH_S + one.start_s) * 1e9),
            "request_end_ns": round((EPOCH_S + one.end_s) * 1e9),
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        }
        metrics = {name: {"value": value, "unit": unit} for name, (value, unit) in values.items()}
        lines.append(json.dumps({"metadata": about, "metrics": metrics, "error": None}))
    return "\n".join(lines) + "\n"


def vllm_bench(requests: Sequence[PastRequest]) -> str:
    """The result of ``vllm bench serve --save-result --save-detailed``."""
    return json.dumps(
        {
            "model_id": "hidden",
            "duration": max(one.end_s for one in requests),
            "completed": len(requests),
            "failed": 0,
            "mean_ttft_ms": 1.0,
            "input_lens": [one.prompt_tokens for one in requests],
            "output_lens": [one.output_tokens for one in requests],
            "ttfts": [one.first_s - one.start_s for one in requests],
            "itls": [[one.tpot_s or 0.0] * (one.output_tokens - 1) for one in requests],
            "start_times": [5000 + one.start_s for one in requests],
            "errors": [""] * len(requests),
        }
    )


def table(requests: Sequence[PastRequest], cached: bool = False) -> str:
    """A CSV with a row a request."""
    more = ("cached_tokens", "conversation") if cached else ()
    lines = [",".join((*CSV_COLUMNS, *more))]
    for one in requests:
        cells = [one.start_s, one.first_s - one.start_s, one.end_s - one.start_s, one.prompt_tokens, one.output_tokens]
        lines.append(",".join(map(str, [*cells, *([one.cached_tokens, one.conversation] if cached else [])])))
    return "\n".join(lines) + "\n"


WRITERS = {"aiperf.jsonl": aiperf, "vllm.json": vllm_bench, "requests.csv": table}


def write(folder: Path, kind: str, runs: Sequence[Sequence[PastRequest]]) -> list[Path]:
    """A file a run, of one of `WRITERS`."""
    paths = [folder / f"{number}_{kind}" for number in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        path.write_text(WRITERS[kind](run), encoding="utf-8")
    return paths
