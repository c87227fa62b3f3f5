"""`ui` as people run it: a process of its own, asked over HTTP and by a headless browser, and ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
QUESTION = urlencode({"a": "hgx_h200_v4pro_20tps_sglang", "speed": "40", "ttft": "5", "price_a": "3"})
BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a running page; the process ends by Ctrl-C, and takes its processes along."""
    command = [sys.executable, "-m", "simulator.cli.main", "ui", "--port", "0", "--no-open"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stderr is not None
    try:
        found = ""
        for line in process.stderr:
            if said := re.match(r"(http://127\.0\.0\.1:\d+/)", line):
                found = said[1]
                break
        yield found
        process.send_signal(signal.SIGINT)
        _, said_last = process.communicate(timeout=30)
        assert "Traceback" not in said_last
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def test_the_page_answers_and_stops(address: str) -> None:
    with urlopen(f"{address}?{QUESTION}", timeout=300) as response:
        text = response.read().decode()
    assert "No more than this" not in text
    assert re.search(r'<span class="big">[1-9]\d*</span>', text)
    assert text.count("<svg") == 2
    assert "agent 1" in text
    assert "own_usd_per_gpu_hour: 3" in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_answer(address: str, tmp_path: Path) -> None:
    """The browser's own tree of the page: pieces that came one after another are one well-formed document."""
    assert BROWSER is not None
    command = [BROWSER, *SWITCHES, f"--user-data-dir={tmp_path}", "--dump-dom", f"{address}?{QUESTION}"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0
    sections = re.findall(r'<section id="(\w+)"', found.stdout)
    assert sections == ["answer", "frontier", "excerpt"]
    assert found.stdout.count("<tr>") > 15
    assert "chrome-error" not in found.stdout


def test_a_taken_port_is_a_mistake(command: Command, address: str) -> None:
    port = address.rsplit(":", 1)[1].strip("/")
    result = command("ui", "--no-open", "--port", port)
    assert result.exit_code == 2
    assert "--port" in result.stderr
