"""What a served engine takes over the sum of its operators: factors on a law that comes from operator tables.

Inputs come from `hardware_profiles/laws/served.csv`, which `agentwatt fit --table served --write` makes from the evidence rows.
"""

from dataclasses import dataclass, fields
from pathlib import Path

from simulator.catalog import folder
from simulator.hardware.law_table import read_table, written_table

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
    table = read_table(path, COLUMNS[:2], COLUMNS[2:])
    return [Served(**words, **{**numbers, "rows": int(numbers["rows"])}) for words, numbers in table]  # type: ignore[arg-type]


def served_text(rows: list[Served], heading: str) -> str:
    """The table as a file holds it: a comment, the header, and the rows."""
    return written_table(heading, COLUMNS, [_cells(row) for row in rows])


def _cells(row: Served) -> list[str]:
    errors = (f"{row.tpot_error:.3f}", f"{row.ttft_error:.3f}")
    return [row.engine, row.family, f"{row.prefill:.4g}", f"{row.request_s:.4g}", str(row.rows), *errors]
