"""A command that listens, as people run it: a process of its own that tells on stderr where it can be asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@contextmanager
def listening(
    *words: str, cwd: Path | None = None, module: str = "simulator.cli.main", preexec_fn: Callable[[], None] | None = None
) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """A running ``agentwatt``: its process, its port, and the lines of its stderr so far."""
    command = [sys.executable, "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=cwd, env=environment, preexec_fn=preexec_fn, **pipes)
    said: list[str] = []
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        for line in process.stderr:
            said.append(line)
            if "OPENAI_BASE_URL" in line:
                break
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        reader.start()
        yield process, int(said[-1].rsplit(":", 1)[1].split("/")[0]), said
        reader.join(30)
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()
        process.stdout.close()
