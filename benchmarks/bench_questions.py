"""What a question costs a user: starts, help, the capacity of a rack, the main comparison; each in processes of its own.

Inputs are the shipped scenarios. `bench_all` prints the rows; CPU seconds are of all processes that a question starts.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "capacity_gb300_pd_20tps"
"""The published shape of this tier, on 32 GPUs of the rack."""
ONE_SEED = "{'seeds': 1}"
WHOLE_RACK = "{'seeds': 1, 'deployment': 'gb300_nvl72_v4pro_20tps'}"
"""What makes it a rack whose 72 GPUs all serve, as 9 mixed workers of 8."""
ASK = "find_capacity(load_scenario(sys.argv[1], eval(sys.argv[2])), jobs=1)"
ONE_CORE = f"import sys; from simulator import find_capacity, load_scenario; {ASK}"
AGAIN = f"""{ONE_CORE}
import time
for _ in range(3):
    began, before = time.perf_counter(), time.process_time()
    {ASK}
    print(time.perf_counter() - began, time.process_time() - before)
"""
"""The same question three times more in the process that has answered it, whose code, workload arrays and memory are warm."""


class Took(NamedTuple):
    """Of one process and those it started, or of one question in a process."""

    seconds: float
    cpu_s: float


def said(words: list[str], kept: str) -> str:
    """What a process prints, with compiled code kept in a folder, and Python's own where it is by default."""
    where = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": kept, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=where, text=True).stdout


def took(words: list[str], kept: str) -> Took:
    """A process from start to end."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    said(words, kept)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def took_again(changes: str, kept: str) -> Took:
    """The published scenario with some changes, asked again and again in one process: the median by CPU seconds."""
    lines = said([sys.executable, "-c", AGAIN, PUBLISHED, changes], kept).splitlines()
    return sorted((Took(*map(float, line.split())) for line in lines), key=lambda each: each.cpu_s)[len(lines) // 2]


def agentwatt(*words: str) -> list[str]:
    return [sys.executable, "-m", "simulator.cli.main", *words]


def questions() -> dict[str, Took]:
    """What each question took, by its name; the first one compiles for the others."""
    short = ["--set", "phase.min_window_s=60", "--set", "phase.min_trajectories=0", "--set", "phase.min_agent_trajectories=0"]
    run = agentwatt("run", "run_h200", "--agents", "1", "--set", "seeds=[1]", *short)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        asked = {
            "first run of a minute, compiling": run,
            "the same again": run,
            "--help": agentwatt("--help"),
            f"capacity {PUBLISHED}, 3 seeds, one process": [sys.executable, "-c", ONE_CORE, PUBLISHED, "{}"],
            f"capacity {PUBLISHED}, 1 seed, one process": [sys.executable, "-c", ONE_CORE, PUBLISHED, ONE_SEED],
            "capacity of all 72 GPUs, 1 seed, one process": [sys.executable, "-c", ONE_CORE, PUBLISHED, WHOLE_RACK],
            "compare compare, with its report": agentwatt("compare", "compare", "--out", folder),
        }
        for name, words in asked.items():
            print(name, file=sys.stderr)
            found[name] = took(words, folder)
        for changes, name in ((ONE_SEED, f"capacity {PUBLISHED}, 1 seed"), (WHOLE_RACK, "capacity of all 72 GPUs, 1 seed")):
            print(f"{name}, again", file=sys.stderr)
            found[f"{name}, asked again in one process"] = took_again(changes, folder)
    return found
