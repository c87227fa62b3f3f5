"""What the command's exit status means; the one list of codes."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of ``agentwatt``. A bug is a traceback and status 1, Python's own."""

    OK = 0
    BAD_INPUT = 2
    """Something the user gave is wrong: an option, a scenario, a profile, a trajectory, a place that cannot be written, or more
    than this machine's memory holds."""
    DIFFERS = 3
    """A check found a difference: a coefficient is not what its evidence gives, an overlay does not hold."""
    ENDPOINT_LOST = 4
    """A live endpoint was given up in mid-run, or gave nothing that can be used; what was finished is kept."""
    INTERRUPTED = 130
    """Ctrl-C."""
