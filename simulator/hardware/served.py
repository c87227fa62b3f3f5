"""What a served engine takes over the sum of its operators: factors on a law that comes from operator tables.

Inputs come from `hardware_profiles/laws/served.csv`, which `agentwatt fit --table served --write` makes from the evidence rows.
"""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

from simulator.catalog import folder
from simulator.errors import Mistake, UserError

PREFILL = ("prefill_token_s", "prefill_expert_s")
"""Coefficients of a law that the factor on prompts lengthens. Attention over pairs stays: it is 1 % of the prompts that were served."""


@dataclass(frozen=True)
class Served:
    """A row of the table.

    Attributes
    ----------
    engine, family : str
        Whom it speaks for: an engine, serving models whose names begin so.
    prefill : float
        Time that a prompt's tokens take over what its operators take, measured one by one and added up.
    request_s : float
        Front end of a call before the scheduler sees it.
    rows : int
        Served rows that both were fitted to.
    tpot_error, ttft_error : float
        Median absolute relative error on them, played.
    """

    engine: str
    family: str
    prefill: float
    request_s: float
    rows: int
    tpot_error: float
    ttft_error: float

    @property
    def source(self) -> str:
        """What to say of a coefficient that was lengthened."""
        return f"times {self.prefill:g}, what {self.engine} took over the sum of its operators on {self.rows} served rows"


COLUMNS = tuple(field.name for field in fields(Served))


def served_over(engine: str, model: str) -> Served | None:
    """The row of an engine and a model; none where no served rows tell."""
    return next((row for row in served() if row.engine == engine and model.startswith(row.family)), None)


def served() -> list[Served]:
    """The shipped table."""
    return read_served(folder("laws") / "served.csv")


def read_served(path: Path) -> list[Served]:
    """The rows of a table. Raises `UserError` at the first bad one."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(line for line in lines if not line.startswith("#"))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(Mistake(str(path), "header", ",".join(reader.fieldnames or ()), ",".join(COLUMNS)))
        return [_row(path, row) for row in reader]


def _row(path: Path, row: dict[str, str]) -> Served:
    try:
        numbers = {key: float(row[key]) for key in COLUMNS[2:]}
    except (TypeError, ValueError) as error:
        raise UserError(Mistake(str(path), f"{row['engine']}/{row['family']}", str(error), "numbers")) from error
    return Served(row["engine"], row["family"], **{**numbers, "rows": int(numbers["rows"])})  # type: ignore[arg-type]


def served_text(rows: list[Served], heading: str) -> str:
    """The table as a file holds it: a comment, the header, and the rows."""
    lines = [f"# {line}" for line in heading.splitlines()] + [",".join(COLUMNS)]
    lines += [f"{r.engine},{r.family},{r.prefill:.4g},{r.request_s:.4g},{r.rows},{r.tpot_error:.3f},{r.ttft_error:.3f}" for r in rows]
    return "\n".join(lines) + "\n"
