"""A headless Chromium with a keyboard: one page, told over the browser's own debugging pipe. Inputs are an address and keys."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 120.0
CODES = {"Tab": (9, ""), "Enter": (13, "\r"), "Backspace": (8, "")}


class Page:
    """The one page of a browser."""

    def __init__(self, to_browser: Any, from_browser: Any) -> None:
        self._to, self._from = to_browser, from_browser
        self._numbers, self._rest = itertools.count(1), b""
        target = self._tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def go(self, address: str) -> None:
        """Opens an address and waits for the whole page."""
        self._tell("Page.navigate", url=address)
        self.until(f"location.href.startsWith({json.dumps(address)}) && document.readyState == 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        return self._tell("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits until an expression is true; a page between two addresses has none."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.value(expression) is True:
                return
            time.sleep(0.05)
        raise AssertionError(f"never came true: {expression}")

    def press(self, key: str) -> None:
        """One key, down and up: a name of `CODES` or a character."""
        code, text = CODES[key] if key in CODES else (ord(key.upper()), key)
        common = {"key": key, "windowsVirtualKeyCode": code}
        self._tell("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self._tell("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab_to(self, name: str) -> None:
        """Presses Tab until a control has the focus."""
        for _ in range(40):
            self.press("Tab")
            if self.value("document.activeElement.id") == name:
                return
        raise AssertionError(f"40 Tabs do not reach {name}")

    def _tell(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        session = {"sessionId": self._session} if hasattr(self, "_session") else {}
        self._to.write(json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0")
        while True:
            message = json.loads(self._message())
            if message.get("id") == number:
                return message.get("result", {"result": {}})

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            got = self._from.read(1 << 20)
            assert got, "the browser went away"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return message


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A running browser with a profile of its own; it reads commands from its file 3 and answers on 4."""
    assert BROWSER is not None
    theirs_in, to_browser = os.pipe()
    from_browser, theirs_out = os.pipe()

    def redirect() -> None:  # in the browser's process, before it is one
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    command = [BROWSER, *SWITCHES, f"--user-data-dir={folder}", "about:blank"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, close_fds=False, preexec_fn=redirect, **silent)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(to_browser, "wb", buffering=0) as to, os.fdopen(from_browser, "rb", buffering=0) as back:
            yield Page(to, back)
    finally:
        process.terminate()
        process.wait(30)
