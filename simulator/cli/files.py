"""The files the command writes: whole or not at all, journals apart. Nothing else in the project writes files."""

import os
import tempfile
from io import FileIO
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


def append_only(path: Path) -> FileIO:
    """A new file that keeps each write as soon as it is made, whatever becomes of this process.

    Raises
    ------
    UserError
        When the place cannot be written, or holds a file already.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileIO(path, "xb")
    except FileExistsError as error:
        hint = f"left by a recording that did not end; keep it with `agentwatt trajectories convert {path} OUT`, then remove it"
        raise UserError(Mistake(str(path), "", "a file that is there already", "a new file", hint)) from error
    except OSError as error:
        raise UserError(Mistake(str(path), "", "a place that cannot be written", hint=error.strerror or "")) from error


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
