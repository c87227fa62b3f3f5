"""The files the command writes: whole or not at all, journals apart. Nothing else in the project writes files."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from simulator.errors import Mistake, UserError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: beside its place first, then renamed over it; missing folders are made.

    Half a surrogate pair, which a name in a JSON file may have, is written as a question mark.

    Raises
    ------
    UserError
        When the place cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "replace"))


def refuse_places(*files: Path | None) -> None:
    """Before the work that would fill them: files that could not be written, there or where links lead. Folders are not made yet.

    Raises
    ------
    UserError
        When a place cannot be written, or holds something that is no file: a folder, a device, a pipe.
    """
    for path in files:
        if path is None:
            continue
        with _told(path):
            _refuse_what_is_no_file(path)
            nearest = next(folder for folder in Path(os.path.realpath(path)).parents if os.path.lexists(folder))
            if not nearest.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


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
    """Write a file atomically; see `write_text`. Where a link stands, the file that it leads to is written."""
    with _told(path):
        _refuse_what_is_no_file(path)
        place = Path(os.path.realpath(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(beside, 0o666 & ~_umask())
            os.replace(beside, place)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise


def remove_journal(path: Path) -> None:
    """Remove a journal whose rows are in a whole file by now."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        hint = f"{error.strerror}; what was asked for is written, and this file can go"
        raise UserError(Mistake(str(path), "", "a file that cannot be removed", hint=hint)) from error


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system says against a place, as a user's mistake."""
    try:
        yield
    except OSError as error:
        raise UserError(Mistake(str(path), "", "a place that cannot be written", hint=error.strerror or "")) from error


def _refuse_what_is_no_file(path: Path) -> None:
    """A file is written beside its place and renamed over it, which would put a file in place of a device."""
    if os.path.exists(path) and not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "a device, a pipe or a socket"
        raise UserError(Mistake(str(path), "", found, "a file, new or to be replaced"))


def _umask() -> int:
    """The process's file mode mask; a temporary file is private until this is applied."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
