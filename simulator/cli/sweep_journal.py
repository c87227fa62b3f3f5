"""The points of a sweep that are finished, kept one by one while it runs: a file of JSON lines beside its table.

Each row is one write, so a process killed at any time leaves whole rows and at most one torn last line, which the next one cuts off.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from simulator.cli.files import remove_journal
from simulator.errors import Mistake, UserError


class SweepJournal:
    """An open journal, held by one process at a time.

    Parameters
    ----------
    path : Path
        Made when it is not there.

    Raises
    ------
    UserError
        When the place cannot be written, or another sweep is writing there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UserError(Mistake(str(path), "", "a place that cannot be written", hint=error.strerror or "")) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise UserError(Mistake(str(path), "", "in use by another sweep", hint="wait for it, or give another --out")) from error
        self.rows = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        """Key -> row of the whole lines; a last line without its end is cut off, a damaged one passed over."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        os.ftruncate(self._file, len(whole))
        found: dict[str, dict[str, Any]] = {}
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                found[entry["key"]] = dict(entry["row"])
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def keep(self, key: str, row: dict[str, Any]) -> None:
        """Adds a finished point."""
        line = json.dumps({"key": key, "row": row}, allow_nan=False).encode() + b"\n"
        try:
            written, why = os.write(self._file, line), "a disk that is full"
        except OSError as error:
            written, why = 0, f"a place that cannot be written: {error.strerror}"
        if written != len(line):
            raise UserError(Mistake(str(self.path), "", why, hint="make room"))

    def close(self) -> None:
        """Lets go of the file, which stays for the next run."""
        os.close(self._file)

    def remove(self) -> None:
        """Ends the journal once its rows are in the sweep's table."""
        try:
            remove_journal(self.path)
        finally:
            self.close()
