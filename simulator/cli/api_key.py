"""The key of an endpoint: from a file or the environment only, never from the command line. Inputs are a path and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from simulator.errors import Mistake, UserError

VARIABLES = ("AGENTWATT_API_KEY", "OPENAI_API_KEY")
"""Environment variables, the first that is set counts."""


def read_key(file: Path | None, environment: Mapping[str, str], command: str) -> str:
    """The key, or nothing where there is none. No message repeats it."""
    if file is not None:
        try:
            key, place = file.read_text("utf-8").strip(), str(file)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise UserError(Mistake(str(file), "--key-file", "a file that cannot be read", hint=reason or "")) from None
    else:
        place = next((name for name in VARIABLES if environment.get(name)), "")
        key = environment.get(place, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(Mistake(command, place, "a key with blanks, line breaks or other than plain letters", "the key alone"))
    return key
