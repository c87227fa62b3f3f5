"""The peer: NVIDIA Dynamo's offline replay (`pip install ai-dynamo==1.4.2`, in an environment of its own), on the load of our engine.

Inputs are a trajectory set and the interpreter of that environment. The set is written in the peer's own dialect: one row per call, with
the calls it waits for, the tool's delay, and names of its prompt's blocks of 512 tokens.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from simulator.workload.trajectory import TrajectorySet

BLOCK_TOKENS = 512


@dataclass(frozen=True)
class Replay:
    """What one replay reported; ``seconds`` is its own time of replaying, without starting and reading."""

    seconds: float
    calls: int
    output_tokens: int
    reused_tokens: int
    peak_mib: float


def write_trace(load: TrajectorySet, ramp_s: float, path: Path) -> None:
    """The set as a graph of calls: agent ``a`` of ``n`` starts at ``ramp_s * a / n``."""
    shared = load.shared_prefix_tokens // BLOCK_TOKENS
    free = shared
    with path.open("w") as file:
        for number, agent in enumerate(load.trajectories):
            blocks = list(range(shared))
            for turn, call in enumerate(agent.calls):
                kept = max(shared, call.kept_tokens // BLOCK_TOKENS)
                wanted = -(-call.prompt_tokens // BLOCK_TOKENS)
                blocks = [*blocks[:kept], *range(free, free + wanted - kept)]
                free += wanted - kept
                row = {"request_id": f"{number}_{turn}", "session_id": str(number), "input_length": call.prompt_tokens}
                row |= {"output_length": call.output_tokens, "hash_ids": blocks}
                if turn == 0:
                    row["timestamp"] = 1e3 * ramp_s * number / len(load.trajectories)
                else:
                    row |= {"wait_for": [f"{number}_{turn - 1}"], "tool_wait_ms": 1e3 * agent.calls[turn - 1].tool_s}
                file.write(json.dumps(row) + "\n")


def replay(python: str, trace: Path, workers: int, blocks: int, report: Path) -> Replay:
    """One run: the engine's options are those of `bench_engine.pool_of`."""
    engine = {"num_gpu_blocks": blocks, "block_size": BLOCK_TOKENS, "max_num_seqs": 1024, "max_num_batched_tokens": 16384}
    router = "kv_router" if workers > 1 else "round_robin"
    words = ["--replay-mode", "offline", "--trace-format", "agentic_mooncake", "--num-workers", str(workers), "--report-json", str(report)]
    words += ["--router-mode", router, "--extra-engine-args", json.dumps(engine)]
    quiet = os.environ | {"DYN_LOG": "error"}
    peak_mib = peak_of([python, "-m", "dynamo.replay", str(trace), *words], quiet)
    found = json.loads(report.read_text())
    reused = round(found["total_input_tokens"] * found["prefix_cache_reused_ratio"])
    return Replay(found["wall_time_ms"] / 1e3, found["completed_requests"], found["total_output_tokens"], reused, peak_mib)


LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_of(words: list[str], environment: dict[str, str]) -> float:
    """Runs a process and tells its peak resident set, MiB. A small launcher starts it, for Linux counts what the starting process held."""
    told = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *words], check=True, env=environment, capture_output=True, text=True)
    return int(told.stdout) / 1024
