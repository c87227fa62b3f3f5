"""The data that ships with the project: where profiles, trajectories and scenarios lie, in a checkout and in an installed wheel."""

from difflib import get_close_matches
from pathlib import Path

from simulator.errors import Mistake, UserError

FOLDERS = {
    "systems": "hardware_profiles/systems",
    "models": "hardware_profiles/models",
    "engines": "hardware_profiles/engines",
    "laws": "hardware_profiles/laws",
    "deployments": "hardware_profiles/deployments",
    "evidence": "hardware_profiles/evidence",
    "trajectories": "trajectories",
    "scenarios": "scenarios",
}
"""Kind of data -> folder under the repository root."""

SUFFIXES = (".yaml", ".csv", ".jsonl", ".jsonl.gz")


def folder(kind: str) -> Path:
    """Folder that holds the shipped data of one kind.

    Raises
    ------
    UserError
        When the kind is unknown, or the folder is neither in the checkout nor in the wheel.
    """
    if kind not in FOLDERS:
        raise UserError(Mistake("", "kind", repr(kind), ", ".join(FOLDERS), nearest(kind, list(FOLDERS))))
    package = Path(__file__).resolve().parent
    places = (package / "_data" / FOLDERS[kind], package.parent / FOLDERS[kind])
    for place in places:
        if place.is_dir():
            return place
    raise UserError(Mistake(FOLDERS[kind], kind, "no such folder", hint="the installation lacks its data; install agentwatt again"))


def names(kind: str) -> list[str]:
    """Names of the shipped data of one kind, sorted."""
    return sorted({_stem(path) for path in folder(kind).iterdir() if _stem(path) != path.name})


def is_there(path: Path) -> bool:
    """Whether a path leads to something; not where its name is too long or no name at all."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def refuse_stream(path: Path) -> None:
    """Refuse what is there and neither a file nor a folder: a pipe may never end, or never begin, and files are read more than once."""
    if is_there(path) and not path.is_file() and not path.is_dir():
        raise UserError(Mistake(str(path), "", "a device, a pipe or a socket", "a file"))


def find_data(kind: str, name: str) -> Path:
    """Path of the shipped file ``name`` (given without its suffix).

    Raises
    ------
    UserError
        When there is none; the message lists the names there are and the nearest one.
    """
    for suffix in SUFFIXES:
        path = folder(kind) / f"{name}{suffix}"
        if is_there(path):
            return path
    known = names(kind)
    raise UserError(Mistake(FOLDERS[kind], kind.rstrip("s") if kind != "trajectories" else "trajectories", repr(name), ", ".join(known),
                            nearest(name, known)))  # fmt: skip


def nearest(word: str, known: list[str]) -> str:
    """``did you mean ...?`` with the known word closest to ``word``; empty when none is close."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def _stem(path: Path) -> str:
    for suffix in reversed(SUFFIXES):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name
