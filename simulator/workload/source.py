"""The files of a foreign log, one at a time: a single file, a folder, or a tar archive of any compression, which is streamed."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from simulator.errors import Mistake, UserError


def files(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that ends with `suffix`: sorted in a folder, as stored in an archive (also one that lies in a folder).

    Only one file is held at a time.

    Raises
    ------
    UserError
        When the path or the archive cannot be read.
    """
    try:
        if path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.name.endswith(suffix):
                    yield found.relative_to(path).as_posix(), found.read_bytes()
                elif ".tar" in found.suffixes and is_tar(found):
                    yield from files(found, suffix)
        elif is_tar(path):
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(suffix):
                        content = archive.extractfile(member)
                        if content is not None:
                            yield member.name, content.read()
        else:
            yield path.name, path.read_bytes()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(Mistake(str(path), "", hint=f"cannot be read: {error}")) from error


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not."""
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except (OSError, EOFError):  # a broken gzip is no archive; who reads it will say so
        return False
