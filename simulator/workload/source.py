"""The files of a foreign log, one at a time and unpacked as they are read: a file, a folder or a tar archive, by content and not by suffix.

Nothing is read whole but a JSON document, and nothing beyond the limits: a line, a document, or what a small packed file may grow to.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from simulator.errors import Mistake, UserError

BUFFER = 1 << 16
MOST_EMPTY = 100_000
"""Empty lines in a row: two gigabytes of them pack into two megabytes, and take a quarter of an hour to count."""
SNIFFED_ROWS, SNIFFED_BYTES = 20, 1 << 20
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


@dataclass(frozen=True)
class Limits:
    """How much of a file is taken before it is refused.

    Attributes
    ----------
    line_bytes : int
        Longest line of a file of lines.
    document_bytes : int
        Largest JSON document, which is read whole.
    expansion : int
        How many times its packed size a file may grow to once it is over `document_bytes`: 710 session files pack 315 times, zeros by gzip
        1,030 times.
    """

    line_bytes: int = 64 << 20
    document_bytes: int = 256 << 20
    expansion: int = 700


class Source:
    """One file: its name below the path that was asked for, its place for messages, and its content as a stream read once."""

    def __init__(self, name: str, place: str, stream: BinaryIO, limits: Limits) -> None:
        self.name, self.place, self.limits = name, place, limits
        self._stream = stream
        self._ahead: list[bytes] = []  # lines that were looked at and not yet taken
        self._ended = False
        self._whole: Any = None

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines that hold something, numbered from 1."""
        line, empty = 0, 0
        while True:
            text = self._ahead.pop(0) if self._ahead else self._line(line + 1)
            if not text:
                return
            line += 1
            empty = empty + 1 if text.isspace() else 0
            if empty > MOST_EMPTY:
                raise UserError(Mistake(self.place, "", "more empty lines", f"at most {MOST_EMPTY:,} in a row", line=line))
            if not empty:
                yield line, text

    def document(self) -> Any:
        """The file as one JSON value."""
        if self._whole is None:
            self._whole = parse_json(self.text(), self.place, 0)
        return self._whole

    def text(self) -> bytes:
        """The whole file, of a document's size at most; what was read is not there for other methods."""
        most = self.limits.document_bytes
        ahead = b"".join(self._ahead)
        try:
            text = ahead + self._stream.read(max(0, most - len(ahead)) + 1)
        except DAMAGE as error:
            raise _damaged(self.place, error) from error
        if len(text) > most:
            hint = "one JSON document is read whole; JSON lines may be longer"
            raise UserError(Mistake(self.place, "", "more in one document", f"at most {most:,} bytes", hint))
        self._ahead = []
        return text

    def first_rows(self) -> list[Any]:
        """What the file begins with, to tell its format by: its first JSON lines, its whole JSON document, or the cells of a CSV header.

        Empty when it is none of these. The file can be read from the start afterwards.
        """
        if self._whole is not None:
            return [self._whole]
        self._look_ahead()
        first = next((text for text in self._ahead if not text.isspace()), b"").lstrip(b"\xef\xbb\xbf \t")
        if first[:1] not in (b"{", b"["):
            return [_cells(first)] if b"," in first else []
        rows = [row for text in self._ahead if isinstance(row := _value(text), dict | list)]
        if not rows or first.strip() in (b"{", b"["):
            return [self.document()]
        if len(self._ahead) == 1 and self._ended:
            self._whole = rows[0]
        return rows

    def _look_ahead(self) -> None:
        size = 0
        while len(self._ahead) < SNIFFED_ROWS and size < SNIFFED_BYTES:
            text = self._line(len(self._ahead) + 1)
            if not text:
                self._ended = True
                return
            self._ahead.append(text)
            size += len(text)

    def _line(self, number: int) -> bytes:
        most = self.limits.line_bytes
        try:
            text = self._stream.readline(most + 1)
        except DAMAGE as error:
            raise _damaged(self.place, error, number) from error
        if len(text) > most:
            hint = "the rest was not read"
            raise UserError(Mistake(self.place, "", "a longer line", f"lines of at most {most:,} bytes", hint, number))
        return text


def sources(path: Path, suffixes: tuple[str, ...] = (), limits: Limits | None = None) -> Iterator[Source]:
    """Each file of a path: sorted in a folder, as stored in an archive (also one that lies in a folder), only one open at a time.

    Parameters
    ----------
    suffixes : tuple of str
        Of the files to take from a folder or an archive; a path that is itself a file is taken whatever its name.

    Raises
    ------
    UserError
        When the path, the archive or a packed file cannot be read.
    """
    limits = limits or Limits()
    try:
        if path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.is_file():
                    with found.open("rb") as raw:
                        name = found.relative_to(path).as_posix()
                        yield from _opened(raw, found.stat().st_size, name, str(found), suffixes, limits)
        else:
            with path.open("rb") as raw:
                yield from _opened(raw, path.stat().st_size, path.name, str(path), (), limits, suffixes)
    except DAMAGE as error:
        raise _damaged(str(path), error) from error


def head(path: Path, size: int = 1000) -> bytes:
    """The first bytes of a file, unpacked; none of one that cannot be read."""
    try:
        with path.open("rb") as raw:
            return _unpacked(raw, path.stat().st_size, str(path), Limits()).read(size)
    except (UserError, *DAMAGE):
        return b""


def parse_json(text: bytes | str, place: str, line: int) -> Any:
    """A JSON value; what is none is refused with its place, NaN and nesting beyond reason too."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(Mistake(place, "", hint=f"not JSON: {what}", line=line)) from error


def _value(text: bytes) -> Any:
    """The JSON value of a line; None where it is none."""
    try:
        return parse_json(text, "", 0)
    except UserError:
        return None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _cells(header: bytes) -> list[str]:
    return [cell.strip().strip('"') for cell in header.decode(errors="replace").split(",")]


def _opened(
    raw: BinaryIO, size: int, name: str, place: str, suffixes: tuple[str, ...], limits: Limits, inside: tuple[str, ...] | None = None
) -> Iterator[Source]:
    """The file itself or, when it is an archive, those inside it: each archive's members whose names end by `inside`."""
    inside = suffixes if inside is None else inside
    bare = name.removesuffix(".gz").removesuffix(".xz").removesuffix(".bz2")
    if suffixes and not bare.endswith((*suffixes, ".tar", ".tgz", ".txz")):
        return
    stream = _unpacked(raw, size, place, limits)
    if not _is_tar(stream):
        if not suffixes or bare.endswith(suffixes):
            yield Source(name, place, stream, limits)
        return
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield from _opened(cast(BinaryIO, content), member.size, member.name, f"{place}/{member.name}", inside, limits)


def _unpacked(raw: BinaryIO, size: int, place: str, limits: Limits) -> io.BufferedReader[Any]:
    """A stream of a file's content, packed or not."""
    plain: io.BufferedReader[Any] = io.BufferedReader(_Raw(raw), BUFFER)
    head = plain.peek(6)
    unpacked: Any
    if head.startswith(b"\x1f\x8b"):
        unpacked = gzip.GzipFile(fileobj=plain)
    elif head.startswith(b"\xfd7zXZ\x00"):
        unpacked = lzma.LZMAFile(plain)  # noqa: SIM115 (closed with the file below it)
    elif head.startswith(b"BZh"):
        unpacked = bz2.BZ2File(plain)
    else:
        return plain
    return io.BufferedReader(_Raw(unpacked, place, limits.document_bytes, size * limits.expansion), BUFFER)


def _is_tar(stream: io.BufferedReader[Any]) -> bool:
    return stream.peek(512)[257:262] == b"ustar"


class _Raw(io.RawIOBase):
    """A stream that another one can buffer; what grows beyond both bounds is refused as it is read."""

    def __init__(self, stream: BinaryIO, place: str = "", free: int = 0, most: int = 0) -> None:
        self.stream, self.place, self.free, self.most = stream, place, free, most
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        if self.place and self.count > self.free and self.count > self.most:
            hint = "a file that packs this well is a decompression bomb; unpack it yourself if you trust it"
            raise UserError(Mistake(self.place, "", f"more than {self.count - len(data):,} bytes when unpacked", f"{self.most:,}", hint))
        return len(data)


def _damaged(place: str, error: Exception, line: int = 0) -> UserError:
    return UserError(Mistake(place, "", hint=f"cannot be read: {error}", line=line))
