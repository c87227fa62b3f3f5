"""Reads whole foreign logs, converts them and lets an engine with unlimited HBM replay them: time, memory, size, reuse.

    python benchmarks/bench_readers.py PATH [--block 64] [--engine]

The line printed holds CPU seconds of reading, the peak resident set (MiB) after it, trajectories and calls, the size of the native file,
and the share of prompt tokens that an infinite cache reuses in blocks: by the compiled tree and, with ``--engine``, by the kernel.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from simulator.workload import compile_calls, load_trajectories
from simulator.workload.native import write_native


def main() -> None:
    """Prints one line for a path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--engine", action="store_true")
    asked = parser.parse_args()
    wall, cpu = time.perf_counter(), time.process_time()
    found = load_trajectories(asked.path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.jsonl.gz"
        write_native(found, target)
        size = target.stat().st_size
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        same = load_trajectories(target) == found
    calls = sum(len(trajectory.calls) for trajectory in found.trajectories)
    print(f"{asked.path.name}: {cpu:.1f} s CPU, {wall:.1f} s wall, {peak:.0f} MiB peak, {len(found.trajectories)} runs, {calls} calls,")
    print(f"  native file {size:,} bytes, reads back equal: {same}; {found.provenance}")
    compiled = compile_calls(found, block_tokens=asked.block, marker="after_system" if found.prefixes else "front")
    share = compiled.reusable_block_tokens / compiled.prompt_tokens
    print(f"  reuse by an infinite cache in blocks of {asked.block}: {compiled.reusable_block_tokens:,} tokens, {share:.4%}")
    if asked.engine:
        from tests.readers.unlimited import engine_reuse

        print(f"  by the engine with unlimited HBM: {engine_reuse(compiled, asked.block):,} tokens")


if __name__ == "__main__":
    main()
