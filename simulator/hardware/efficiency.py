"""How far a serving stack stays from the datasheet: the coefficients that turn rates and counts into step time.

Inputs come from `hardware_profiles/laws/efficiencies.csv`, which `agentwatt fit --write` makes from the evidence rows.
"""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

from simulator.catalog import folder
from simulator.hardware.law_table import read_table, written_table

ANY = "any"
"""Stands in the table for every system, engine, model or weight type that has no row of its own."""


@dataclass(frozen=True)
class Efficiency:
    """One stack of system and engine, for one model or for all of them (docs/laws.md derives the terms).

    Attributes
    ----------
    host_s : float
        Host work of the engine in every step.
    request_s : float
        Front end of a call before the scheduler sees it: HTTP, tokenising, routing.
    layer_s, moe_layer_s, latent_layer_s, index_layer_s : float
        Launch floor of a layer; what a layer of experts, one of latent attention (MLA), and one with an indexer add to it.
    collective_s : float
        Latency of one collective of a layer.
    weights, kv : float
        Time over the datasheet's when streaming weights and when reading KV.
    sequence_s : float
        Per decoding sequence in a step: sampling, and the book-keeping of its output.
    decode_gemm, prefill_gemm, prefill_experts, prefill_attention : float
        Time over the datasheet's of the FLOPs of decoding tokens, of prompt tokens in dense and attention layers and in routed experts, and
        of attention over pairs of prompt tokens.
    link : float
        Time over the datasheet's of bytes between the GPUs of a worker.
    """

    host_s: float
    request_s: float
    layer_s: float
    moe_layer_s: float
    latent_layer_s: float
    index_layer_s: float
    collective_s: float
    weights: float
    kv: float
    sequence_s: float
    decode_gemm: float
    prefill_gemm: float
    prefill_experts: float
    prefill_attention: float
    link: float


NAMES = tuple(field.name for field in fields(Efficiency))


@dataclass(frozen=True)
class Fitted:
    """A row of the table: whom it speaks for, its coefficients, and how well they fit.

    Attributes
    ----------
    system, engine, model, bits : str
        `ANY` where the row speaks for all; ``bits`` are those of the bulk of the weights (`weight_bits`).
    rows, checked : int
        Evidence rows that it was fitted to, and those held back.
    tpot_error, ttft_error, tpot_check, ttft_check : float
        Median absolute relative error of the analytic estimate on either; nan without rows.
    """

    system: str
    engine: str
    model: str
    bits: str
    efficiency: Efficiency
    rows: int
    checked: int
    tpot_error: float
    ttft_error: float
    tpot_check: float
    ttft_check: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Whom the row speaks for."""
        return self.system, self.engine, self.model, self.bits

    @property
    def general(self) -> bool:
        """Whether the row speaks for systems and engines without evidence."""
        return self.system == ANY

    @property
    def quality(self) -> str:
        """``fitted`` to measurements of this stack, or ``estimated`` from those of others."""
        return "estimated" if self.general else "fitted"

    @property
    def source(self) -> str:
        """What to say of coefficients that come from here."""
        who = " ".join(part for part in self.key[:3] if part != ANY) or "all measured systems and engines together"
        held = f", {self.tpot_check:.0%} on {self.checked} held back" if self.checked else ""
        return f"datasheet times efficiencies fitted to {self.rows} rows of {who}: median TPOT error {self.tpot_error:.0%}{held}"


KEYS = ("system", "engine", "model", "bits")
FIT = ("rows", "checked", "tpot_error", "ttft_error", "tpot_check", "ttft_check")
COLUMNS = (*KEYS, *NAMES, *FIT)


def efficiency_of(system: str, engine: str, model: str, bits: str) -> Fitted:
    """The nearest row: of this model and width of weights on this system and engine, of the stack, or of all stacks."""
    table = efficiencies()
    keys = ((system, engine, model, bits), (system, engine, ANY, ANY), (ANY, engine, ANY, ANY), (ANY,) * 4)
    return next(table[key] for key in keys if key in table)


def efficiencies() -> dict[tuple[str, str, str, str], Fitted]:
    """The shipped table, by whom its rows speak for."""
    return {row.key: row for row in read_efficiencies(folder("laws") / "efficiencies.csv")}


def read_efficiencies(path: Path) -> list[Fitted]:
    """The rows of a table. Raises `UserError` at the first bad one."""
    return [_row(words, numbers) for words, numbers in read_table(path, KEYS, (*NAMES, *FIT))]


def _row(words: dict[str, str], numbers: dict[str, float]) -> Fitted:
    efficiency = Efficiency(*(numbers[name] for name in NAMES))
    counts = {"rows": int(numbers["rows"]), "checked": int(numbers["checked"])}
    errors = {name: numbers[name] for name in FIT[2:]}
    return Fitted(**words, efficiency=efficiency, **counts, **errors)  # type: ignore[arg-type]


def table_text(rows: list[Fitted], heading: str) -> str:
    """The table as a file holds it: a comment, the header, and four significant digits."""
    return written_table(heading, COLUMNS, [_cells(row) for row in rows])


def _cells(row: Fitted) -> list[str]:
    numbers = [f"{value:.4g}" for value in astuple(row.efficiency)]
    errors = [f"{getattr(row, name):.3f}" for name in FIT[2:]]
    return [*row.key, *numbers, str(row.rows), str(row.checked), *errors]
