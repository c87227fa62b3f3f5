"""The version of this package, from the installed distribution's own record."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The distribution's version; ``0+checkout`` when the package runs from a folder that was never installed."""
    try:
        return installed("agentwatt")
    except PackageNotFoundError:
        return "0+checkout"
