"""One short answer, to the byte: the same in another process, under another hash seed, with the JIT off, on every Python and numpy.

The hash is of the JSON that `run --json` prints. It moves when the answer moves: then `tests/golden` has moved too, and says how.
"""

import hashlib
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from simulator.cli.main import app

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "tests" / "cli" / "tiny.yaml")
RUN = ["run", TINY, "--agents", "2", "--json", "--set", "seeds=2", "--set", "deployment.drafts=3"]
CAPACITY = ["capacity", TINY, "--json"]
HASHES = {
    "run": "34b857f376f308dbcb754801234fe13b69a2a64476f1a4cc2050e20ee9a6a549",
    "capacity": "cfa983f0692b8310408e3211a83c88b3af989a72f4674c0cac4a0e01aae0bae5",
}


def answer(words: list[str]) -> str:
    said = StringIO()
    with redirect_stdout(said):
        app(words, standalone_mode=False)
    return said.getvalue()


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("words", [RUN, CAPACITY], ids=["run", "capacity"])
def test_the_bytes_are_those_of_every_python(words: list[str]) -> None:
    assert hashed(answer(words)) == HASHES[words[0]]


def test_the_bytes_are_those_of_another_process_without_the_jit() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONHASHSEED": "271828", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "simulator.cli.main", *RUN]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert hashed(done.stdout) == HASHES["run"]
