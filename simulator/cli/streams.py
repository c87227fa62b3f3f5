"""What whoever started this process left of stdout and stderr: closed, or a full disk. Inputs are the process's own streams."""

import errno
import os
import sys

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when a disk is full, or a file as large as it may be. Files that we name tell it as a mistake; stdout is left."""


def open_what_is_closed() -> None:
    """What is written to a closed stream is lost, and no file of ours gets its number."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def give_up_stdout() -> None:
    """What is still to be written there would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
