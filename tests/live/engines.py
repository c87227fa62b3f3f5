"""Real engines on loopback, each run by the Python that has it and stopped with the test; nothing is installed here.

An engine is used if the tests' own Python can import it, or if a variable names a Python that can: `AGENTWATT_XLLAMACPP_PYTHON`,
`AGENTWATT_VLLM_PYTHON`. docs/calibration.md says how to install them.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
VLLM_OPTIONS = (
    "--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "4096", "--max-num-seqs", "32", "--enforce-eager",
    "--max-num-batched-tokens", "2048", "--block-size", "32", "--num-gpu-blocks-override", "1024", "--enable-prefix-caching",
    "--enable-prompt-tokens-details", "--generation-config", "vllm",
)  # fmt: skip
VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """Where it listens, the name of the model it serves, and where it writes its log."""

    url: str
    model: str
    log: Path


def python_with(module: str) -> str:
    """A Python that can import ``module``; without one the test is skipped. A variable that names a wrong one is an error."""
    variable = f"AGENTWATT_{module.upper()}_PYTHON"
    named = os.environ.get(variable)
    if named:
        subprocess.run([named, "-c", f"import {module}"], check=True, stdout=subprocess.DEVNULL)
        return named
    if importlib.util.find_spec(module):
        return sys.executable
    pytest.skip(f"{module} is not installed and {variable} names no Python that has it (docs/calibration.md)")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, folder: Path, start_s: float, env: dict[str, str] | None = None) -> Iterator[Engine]:
    """Starts the server, waits until it is healthy, and ends it, and what it started, afterwards."""
    log = folder / "engine.log"
    engine = Engine(f"http://127.0.0.1:{port}", "tiny", log)
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | (env or {}), start_new_session=True)
        try:
            wait_until_healthy(engine, process, start_s)
            yield engine
        finally:
            stop(process)


def wait_until_healthy(engine: Engine, process: "subprocess.Popen[bytes]", start_s: float) -> None:
    until = time.monotonic() + start_s
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(engine.url + "/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{process.args} does not serve:\n{engine.log.read_text()[-2000:]}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def llamacpp(python: str, model: Path, folder: Path, *options: str) -> AbstractContextManager[Engine]:
    """llama.cpp's server with a GGUF model."""
    port = free_port()
    return serving([python, str(HERE / "llamacpp_server.py"), str(model), "--port", str(port), *options], port, folder, start_s=60)


def vllm(python: str, model: Path, folder: Path, *options: str) -> AbstractContextManager[Engine]:
    """vLLM on a CPU with a checkpoint of `tiny_model`."""
    port = free_port()
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    return serving([*command, *VLLM_OPTIONS, *options], port, folder, start_s=300, env=VLLM_ENVIRONMENT)
