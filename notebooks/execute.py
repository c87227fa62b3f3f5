"""Executes notebooks in place, without timestamps, so that the same code leaves the same bytes. Input: file names (`make notebooks`)."""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(names: list[str]) -> None:
    """Executes each notebook in its own folder; an error in a cell ends the run."""
    for path in map(Path, names):
        began = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook, timeout=300, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
        ).execute()
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        print(f"{path}: {time.perf_counter() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
