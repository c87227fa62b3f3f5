"""`ui` as people run it: a process of its own, asked over HTTP and by a headless browser, and ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.cli.browser import BROWSER, browser
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
QUESTION = urlencode({"a": "hgx_h200_v4pro_20tps_sglang", "speed": "40", "ttft": "5", "price_a": "3"})


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
def test_a_browser_is_asked_by_keyboard_and_shows_the_answer(address: str, tmp_path: Path) -> None:
    """From the address on without a mouse: Tab to a field, another value, Enter; pieces that come one after another are one page."""
    with browser(tmp_path) as page:
        page.go(f"{address}?{QUESTION}")
        page.press("Tab")
        assert page.value("document.activeElement.className") == "skip"
        page.tab_to("speed")
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid", "focus is drawn"
        for key in ("3", "0", "Enter"):
            page.press(key)
        page.until("location.search.includes('speed=30&') && document.readyState == 'complete'")
        sections = page.value("[...document.querySelectorAll('section[id]')].map(one => one.id)")
        assert sections == ["answer", "frontier", "excerpt"]
        assert "slo.speed_tok_s=30" in page.value("document.querySelector('pre').innerText")
        assert page.value("document.querySelectorAll('tr').length") > 15
        assert page.value("getComputedStyle(document.getElementById('working')).display") == "none"


def test_a_taken_port_is_a_mistake(command: Command, address: str) -> None:
    port = address.rsplit(":", 1)[1].strip("/")
    result = command("ui", "--no-open", "--port", port)
    assert result.exit_code == 2
    assert "--port" in result.stderr
