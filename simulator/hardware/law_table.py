"""A table of fitted coefficients as a file holds it: comments, a header, and rows of words and numbers. Inputs are files of `laws/`."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from simulator.errors import Mistake, UserError


def read_table(path: Path, words: Sequence[str], numbers: Sequence[str]) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """The words and the numbers of each row, by column. Raises `UserError` at the first bad one."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(line for line in lines if not line.startswith("#"))
        columns = (*words, *numbers)
        if tuple(reader.fieldnames or ()) != columns:
            raise UserError(Mistake(str(path), "header", ",".join(reader.fieldnames or ()), ",".join(columns)))
        for row in reader:
            try:
                found = {key: float(row[key]) for key in numbers}
            except (TypeError, ValueError) as error:
                raise UserError(Mistake(str(path), "/".join(row[key] for key in words), str(error), "numbers")) from error
            yield {key: row[key] for key in words}, found


def written_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The text of such a file."""
    lines = [f"# {line}" for line in heading.splitlines()]
    return "\n".join([*lines, *(",".join(cells) for cells in (columns, *rows))]) + "\n"
