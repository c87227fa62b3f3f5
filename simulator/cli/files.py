"""The files the command writes: whole or not at all. Inputs are finished texts; nothing else in the project writes files."""

import os
import tempfile
from pathlib import Path

from simulator.errors import Mistake, UserError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: beside its place first, then renamed over it; missing folders are made.

    Raises
    ------
    UserError
        When the place cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; see `write_text`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(beside, 0o666 & ~_umask())
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(Mistake(str(path), "", "a place that cannot be written", hint=error.strerror or "")) from error


def _umask() -> int:
    """The process's file mode mask; a temporary file is private until this is applied."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
