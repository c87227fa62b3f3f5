"""The journal of `agentwatt record`: JSON lines, a header and then one finished call a line, numbers only. Inputs: a journal file.

A call says which session it belongs to, which earlier call of it its prompt goes on from (``after``) and how much of that it keeps. When
the journal is read, calls of a session that were in flight together become sub-agents (docs/record.md).
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.journal_prefixes import prefixes_of
from simulator.workload.journal_threads import trajectories_of
from simulator.workload.records import IDLE_CAP_S, Reading
from simulator.workload.trajectory import TrajectorySet

JOURNAL = "agentwatt-record"
VERSION = 1
CHARACTERS_PER_TOKEN = Reading().token_rule.per_token
"""Rule where an endpoint counts no tokens: characters as JSON (prompt) or as text (answer) over this."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished call.

    Attributes
    ----------
    call, session : int
        Numbers in the order in which calls ended, and sessions began.
    after : int or None
        Number of the call whose prompt this one goes on from; None in a session's first.
    prompt_tokens, kept_tokens, output_tokens : int
    start_s, end_s : float
        Seconds from the start of the recording: request complete, last byte of the answer.
    after_tool : bool
        Whether the prompt ends with the result of a tool.
    cached_tokens : int or None
        Prompt tokens that the server took from its cache, where it says so.
    estimated : str
        Which counts are estimates: any of ``prompt``, ``kept``, ``output``, ``shared``, joined by commas.
    broken : bool
        Whether the answer ended before its end: the client went away, or the server did.
    shares_with : int or None
        In a session's first call: the earliest session's first call with which its prompt shares most.
    shared_tokens : int
        How much it shares with that.
    """

    call: int
    session: int
    after: int | None
    prompt_tokens: int
    kept_tokens: int
    output_tokens: int
    start_s: float
    end_s: float
    after_tool: bool = False
    cached_tokens: int | None = None
    estimated: str = ""
    broken: bool = False
    shares_with: int | None = None
    shared_tokens: int = 0


METHOD = "token counts of the endpoint's usage; kept tokens from digests of prompts; waits from the end of an answer to the next request"
KEYS = tuple(Recorded.__dataclass_fields__)


def journal_header(name: str, labels: dict[str, str], version: str) -> bytes:
    """The first line of a journal."""
    return _line({"format": JOURNAL, "version": VERSION, "name": name, "labels": labels, "recorded_by": f"agentwatt {version}"})


def journal_line(call: Recorded) -> bytes:
    """A call as a line; what says the default is left out."""
    row = {key: value for key, value in asdict(call).items() if key not in DEFAULTS or value != DEFAULTS[key]}
    return _line(row)


DEFAULTS = {name: field.default for name, field in Recorded.__dataclass_fields__.items() if field.default is not MISSING}
DEFAULTS |= {"after": None}


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def is_journal(path: Path) -> bool:
    """Whether a file begins as a journal does."""
    try:
        with path.open("rb") as file:
            return f'"format":"{JOURNAL}"'.encode() in file.read(200)
    except OSError:
        return False


def read_journal(path: Path, idle_cap_s: float = IDLE_CAP_S) -> TrajectorySet:
    """A set from a journal, one trajectory a session.

    A last line that was cut (the recorder was killed while it wrote) is left out and counted.

    Raises
    ------
    UserError
        When the file cannot be read, holds no call, or with every mistake in it.
    """
    header, calls, cut = _read(path)
    return journal_set(header, calls, str(path), cut, idle_cap_s)


def journal_set(
    header: dict[str, Any], calls: Sequence[Recorded], file: str, cut: int = 0, idle_cap_s: float = IDLE_CAP_S
) -> TrajectorySet:
    """A set from what a journal holds.

    Raises
    ------
    UserError
        When there is no call.
    """
    if not calls:
        raise UserError(Mistake(file, "call", "none", "at least one finished call"))
    counts: Counter[str] = Counter()
    prefixes, begins = prefixes_of(calls)
    trajectories = trajectories_of(calls, idle_cap_s, header.get("labels", {}), counts, begins)
    estimates = Counter(what for call in calls for what in call.estimated.split(",") if what)
    told = [call for call in calls if call.cached_tokens is not None]
    said = sum(call.cached_tokens or 0 for call in told)
    provenance = {
        "origin": f"recorded by agentwatt record ({header.get('recorded_by', 'version unknown')}): {len(calls)} calls",
        "quality": "estimated" if estimates else "measured",
        "method": METHOD,
        "estimated": ", ".join(f"{what} tokens of {count} calls" for what, count in sorted(estimates.items()))
        + (f", by {CHARACTERS_PER_TOKEN:g} characters a token or the share of characters" if estimates else ""),
        "cut": f"waits over {idle_cap_s:g} s cut to that: {counts['tool']} after tools, {counts['person']} after people, "
        f"{counts['spawn']} before sub-agents",
        "parallel": f"{counts['sub-agents']} sub-agents of calls in flight together; {counts['apart']} trajectories of their own",
        "broken": f"{sum(call.broken for call in calls)} answers ended early; {cut} cut lines left out",
        "server": f"the endpoint took {said} of {sum(call.prompt_tokens for call in told)} prompt tokens from its cache; "
        f"kept by digests: {sum(call.kept_tokens for call in told)}"
        if told
        else "",
    }
    provenance = {key: text for key, text in provenance.items() if text}
    return TrajectorySet(header.get("name", "recorded"), "recorded", 0, trajectories, provenance, prefixes)


def _read(path: Path) -> tuple[dict[str, Any], list[Recorded], int]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(Mistake(str(path), "", hint=f"cannot be read: {error.strerror}")) from error
    header: dict[str, Any] = {}
    calls: list[Recorded] = []
    mistakes: list[Mistake] = []
    cut = bool(lines[-1].strip())
    for number, line in enumerate(lines[:-1], start=1):
        row = _parsed(line)
        if not header:
            header = _header(row, str(path), number)
        elif row is None:
            mistakes.append(Mistake(str(path), "", "no JSON object", "one finished call a line", line=number))
        else:
            mistakes += _mistakes(row, None if mistakes else calls, str(path), number)
            if not mistakes:
                calls.append(Recorded(**{"after": None, **row}))
    if not header:
        raise UserError(Mistake(str(path), "format", "nothing", repr(JOURNAL), "the first line is the header"))
    if mistakes:
        raise UserError(mistakes[:50])
    return header, calls, int(cut)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _header(row: dict[str, Any] | None, file: str, line: int) -> dict[str, Any]:
    if row is None or row.get("format") != JOURNAL:
        raise UserError(Mistake(file, "format", "something else", repr(JOURNAL), "the first line is the header", line))
    labels = row.get("labels", {})
    good = isinstance(labels, dict) and all(isinstance(text, str) for pair in labels.items() for text in pair)
    if row.get("version") != VERSION or not good or not isinstance(row.get("name", ""), str):
        raise UserError(Mistake(file, "version, labels, name", str(row)[:60], f"{VERSION}, texts, a text", "", line))
    return row


def _mistakes(row: dict[str, Any], before: Sequence[Recorded] | None, file: str, line: int) -> list[Mistake]:
    """Everything wrong with one call, given those before it; of those nothing is asked where one of them was wrong."""
    mistakes: list[Mistake] = []

    def check(good: bool, name: str, allowed: str) -> None:
        if not good:
            mistakes.append(Mistake(file, name, str(row.get(name))[:40], allowed, "", line))

    for name in row:
        check(name in KEYS, name, f"one of {', '.join(KEYS)}")
    for name, least in (("call", 0), ("session", 0), ("prompt_tokens", 1), ("kept_tokens", 0), ("output_tokens", 1)):
        check(type(row.get(name)) is int and row[name] >= least, name, f"a whole number >= {least}")
    for name in ("start_s", "end_s"):
        value = row.get(name)
        check(isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf, name, "seconds >= 0")
    for name in ("after_tool", "broken"):
        check(isinstance(row.get(name, False), bool), name, "true or false")
    check(isinstance(row.get("estimated", ""), str), "estimated", "a text")
    cached = row.get("cached_tokens")
    check(cached is None or (type(cached) is int and cached >= 0), "cached_tokens", "a whole number >= 0")
    if mistakes or before is None:
        return mistakes
    check(row["start_s"] <= row["end_s"], "end_s", "no time before start_s")
    check(row["call"] == len(before), "call", str(len(before)))
    after = row.get("after")
    check(after is None or (type(after) is int and 0 <= after < len(before)), "after", "the number of an earlier call, or null")
    if not mistakes and after is not None:
        check(before[after].session == row["session"], "session", f"{before[after].session}, that of call {after}")
    most = before[after].prompt_tokens if not mistakes and after is not None else 0
    check(row["kept_tokens"] <= min(most, row["prompt_tokens"]), "kept_tokens", f"at most {most}, and the prompt")
    other = row.get("shares_with")
    good = other is None or (type(other) is int and 0 <= other < len(before) and after is None and before[other].after is None)
    check(good, "shares_with", "in a session's first call, the number of an earlier one")
    most = before[other].prompt_tokens if good and other is not None else 0
    shared = row.get("shared_tokens", 0)
    check(type(shared) is int and 0 <= shared <= min(most, row["prompt_tokens"]), "shared_tokens", f"at most {most}, and the prompt")
    return mistakes
