"""A measured serving row: what served, under what load, and what was measured. Rows come from CSV files in the columns below.

`hardware_profiles/evidence/*.csv` ships such files, and people bring their own to `agentwatt validate`; the README there tells the columns.
"""

import csv
import gzip
import hashlib
import io
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TextIO

from simulator.catalog import folder, nearest, refuse_stream
from simulator.errors import Mistake, UserError

QUANTITIES = ("ttft_ms", "tpot_ms", "tok_s_gpu", "watts")
"""What a row may have measured, in the order of the tables."""

MODES = ("agg", "disagg")
SPLITS = ("fit", "check")
STATISTICS = ("mean", "median")
"""What of a run's calls its TTFT and TPOT are."""

MOST_TEXT = 64 << 20
"""Characters of a file of rows; the largest that ships has 0.4 million."""

SERVING_FILES = ("silicon", "systems")
"""Files of the shipped evidence that hold serving rows, by stem."""


FORMULA = re.compile(r"\s*[=+@-]")
"""Text that a spreadsheet would run; numbers are written by another way."""

WATTS_FITTED = "watts fitted"
"""In the note of a row whose watts are among those of `power.csv` that a power law was fitted to; its times were not."""


@dataclass(frozen=True)
class Row:
    """One measured operating point: fixed prompts and answers, so many clients in a closed loop.

    Attributes
    ----------
    system, model, engine : str
        Names of profiles; a row whose profile does not ship is counted and left out of the comparison.
    weights : str
        How the bulk of the weights is stored: ``bf16``, ``fp8``, ``fp4``, ``int4``, or a mixture's name.
    mode : str
        ``agg``: prefill and decode on the same GPUs; ``disagg``: on pools of their own.
    isl, osl, reused, concurrency, requests : int
        Prompt and output tokens of a call, leading prompt tokens that are cached, clients, and calls of the whole run (0: not told).
    length_ratio : float
        Lengths are drawn evenly between this share of ``isl`` and ``osl`` and the whole; 1: all alike.
    gpus, tp, dp, ep : int
        All GPUs; of the (decode) worker the attention shards by tensor and by data parallelism, and the GPUs over which experts are spread.
    drafts, accepted : int, float
        Draft tokens per step, and mean tokens per step when the source says (else 0: the model card's).
    prefill : str
        Pools of a ``disagg`` row: prefill workers as ``WORKERSxTP/DP/EP``.
    ttft_ms, tpot_ms, tok_s_gpu, watts : float
        Mean time to first token and per output token, tokens (input and output) per second per GPU, watts per GPU; NaN where not measured.
    seats : int
        Calls that run at once on all GPUs, where told (0: not told).
    statistic : str
        ``median`` where TTFT and TPOT are not means but medians.
    lengths_seed : int
        Seed from which the client draws all prompt lengths and then all answer lengths, as SGLang's does (0: not told).
    """

    id: str
    system: str
    model: str
    weights: str
    engine: str
    engine_version: str
    mode: str
    isl: int
    osl: int
    reused: int
    concurrency: int
    requests: int
    length_ratio: float
    gpus: int
    tp: int
    dp: int
    ep: int
    drafts: int
    accepted: float
    prefill: str
    ttft_ms: float
    tpot_ms: float
    tok_s_gpu: float
    watts: float
    source: str
    date: str
    split: str
    note: str = ""
    seats: int = 0
    statistic: str = "mean"
    lengths_seed: int = 0

    @property
    def curve(self) -> str:
        """What a row shares with its neighbours in concurrency, version and date: rows of one curve fall on the same side of the split."""
        parts = (self.system, self.model, self.engine, self.weights, self.mode, self.isl, self.osl)
        layout = (self.gpus, self.tp, self.dp, self.ep, self.drafts, self.prefill)
        return "|".join(map(str, (*parts, *layout)))

    def side(self, quantity: str) -> str:
        """The split of one of its quantities: watts are ``fit`` where the note says that a power law was fitted to them."""
        return "fit" if quantity == "watts" and WATTS_FITTED in self.note else self.split

    @property
    def measured(self) -> dict[str, float]:
        """The quantities that this row measured."""
        found = {key: float(getattr(self, key)) for key in QUANTITIES}
        return {key: value for key, value in found.items() if not math.isnan(value)}


COLUMNS = tuple(field.name for field in fields(Row))
REQUIRED = ("id", "system", "model", "engine", "isl", "osl", "concurrency", "gpus", "source")
DEFAULTS: Mapping[str, Any] = {
    "weights": "", "engine_version": "", "mode": "agg", "reused": 0, "requests": 0, "length_ratio": 1.0, "tp": 0, "dp": 1, "ep": 1,
    "drafts": 0, "accepted": 0.0, "prefill": "", "date": "", "split": "", "note": "", "seats": 0, "statistic": "mean",
    "lengths_seed": 0,
    **dict.fromkeys(QUANTITIES, math.nan),
}  # fmt: skip
"""What an empty cell means; ``tp`` 0 stands for the GPUs that ``dp`` leaves to each shard, ``split`` for that of `split_of`."""

LEAST = {
    "isl": 1, "osl": 1, "reused": 0, "concurrency": 1, "requests": 0, "gpus": 1, "tp": 0, "dp": 1, "ep": 1, "drafts": 0, "seats": 0,
    "lengths_seed": 0,
}  # fmt: skip
WORDS = {"mode": MODES, "split": SPLITS, "statistic": STATISTICS}


def split_of(curve: str) -> str:
    """``fit`` or ``check``, half and half, by a hash of the curve: it depends on nothing measured."""
    return SPLITS[hashlib.sha256(curve.encode()).digest()[0] % 2]


def with_split(row: Row) -> Row:
    """The row with the split of its curve; disaggregated rows are all ``check``, for nothing is fitted to them."""
    return replace(row, split="check" if row.mode == "disagg" else split_of(row.curve))


def shipped_rows() -> tuple[Row, ...]:
    """All serving rows of `hardware_profiles/evidence`."""
    return tuple(row for stem in SERVING_FILES for row in read_rows(folder("evidence") / f"{stem}.csv"))


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of a CSV file in our columns (``.gz`` too).

    Raises
    ------
    UserError
        With every mistake: a missing or unknown column, a value that is no number or out of range, a row that measured nothing.
    """
    try:
        with open_text(path) as file:
            table = csv.DictReader(file)
            header = tuple(table.fieldnames or ())
            _raise_if(_header_mistakes(str(path), header))
            records = [(table.line_num, {key: _without_guard(value) for key, value in record.items()}) for record in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(Mistake(str(path), "", "a file that cannot be read", "a CSV file", str(error))) from error
    mistakes: list[Mistake] = []
    rows = [row for line, record in records if (row := _row(str(path), line, record, mistakes)) is not None]
    mistakes += _repeated(str(path), [(line, str(record.get("id"))) for line, record in records])
    _raise_if(mistakes)
    if not rows:
        raise UserError(Mistake(str(path), "", "no rows", "at least one"))
    return tuple(rows)


def open_text(path: Path) -> TextIO:
    """A text file, unpacked when its name ends in ``.gz``, as it is in memory.

    Raises
    ------
    UserError
        When it is a pipe, or longer than `MOST_TEXT`.
    OSError, UnicodeDecodeError
        When it cannot be read.
    """
    refuse_stream(path)
    try:
        opener: Callable[..., TextIO] = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            text = file.read(MOST_TEXT + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(str(error)) from error
    if len(text) > MOST_TEXT:
        raise UserError(Mistake(str(path), "", "a longer file", f"at most {MOST_TEXT:,} characters, unpacked"))
    return io.StringIO(text, newline="")


def _header_mistakes(file: str, header: Sequence[str]) -> list[Mistake]:
    missing = [Mistake(file, key, "no such column", ", ".join(COLUMNS), line=1) for key in REQUIRED if key not in header]
    if not any(key in header for key in QUANTITIES):
        missing.append(Mistake(file, "columns", "nothing measured", "at least one of " + ", ".join(QUANTITIES), line=1))
    unknown = [
        Mistake(file, key or "(empty)", "an unknown column", ", ".join(COLUMNS), nearest(key, list(COLUMNS)), 1)
        for key in header
        if key not in COLUMNS
    ]
    return missing + unknown


def _row(file: str, line: int, record: Mapping[Any, Any], mistakes: list[Mistake]) -> Row | None:
    before = len(mistakes)
    if None in record or None in record.values():
        mistakes.append(Mistake(file, "row", "more or fewer cells than columns", line=line))
        return None
    values = {field.name: _value(file, line, field.name, field.type, record.get(field.name, ""), mistakes) for field in fields(Row)}
    if len(mistakes) > before:
        return None
    values["tp"] = values["tp"] or max(1, values["gpus"] // values["dp"])
    row = Row(**values)
    if not row.measured:
        mistakes.append(Mistake(file, "row", "nothing measured", "at least one of " + ", ".join(QUANTITIES), line=line))
    if row.length_ratio > 1:
        mistakes.append(Mistake(file, "length_ratio", f"{row.length_ratio:g}", "above 0, at most 1", line=line))
    if row.reused >= row.isl:
        mistakes.append(Mistake(file, "reused", str(row.reused), f"less than isl, {row.isl}", line=line))
    return row if row.split else with_split(row)


def _value(file: str, line: int, key: str, kind: Any, text: str, mistakes: list[Mistake]) -> Any:
    text = text.strip()
    if not text:
        if key in REQUIRED:
            mistakes.append(Mistake(file, key, "nothing", "a value", line=line))
        return DEFAULTS.get(key, "")
    if kind is str:
        if key in WORDS and text not in WORDS[key]:
            mistakes.append(Mistake(file, key, repr(text), ", ".join(WORDS[key]), nearest(text, list(WORDS[key])), line))
        return text
    reader: Callable[[str], float] = int if kind is int else float
    least = LEAST.get(key, 0)
    try:
        number = reader(text)
    except ValueError:
        number = math.nan
    good = math.isfinite(number) and (number >= least if kind is int or key == "accepted" else number > 0)
    if not good:
        allowed = f"a whole number, at least {least}" if kind is int else "a number above 0"
        mistakes.append(Mistake(file, key, repr(text), allowed, line=line))
    return number


def _repeated(file: str, ids: Iterable[tuple[int, str]]) -> list[Mistake]:
    seen: dict[str, int] = {}
    found = []
    for line, key in ids:
        if key in seen:
            found.append(Mistake(file, "id", repr(key), f"an id of its own; line {seen[key]} has it", line=line))
        seen.setdefault(key, line)
    return found


def _raise_if(mistakes: Sequence[Mistake]) -> None:
    if mistakes:
        raise UserError(mistakes)


def rows_text(rows: Iterable[Row]) -> str:
    """The rows as the text of a CSV file in our columns; text that a spreadsheet would run starts with an apostrophe, which `read_rows`
    takes off again."""
    lines = [",".join(COLUMNS)]
    lines += [",".join(_cell(getattr(row, key)) for key in COLUMNS) for row in rows]
    return "\n".join(lines) + "\n"


def _without_guard(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" and FORMULA.match(value[1:]) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) or value == 0 else f"{value:.6g}"
    text = f"'{value}" if FORMULA.match(str(value)) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text
