"""The native trajectory format: gzipped or plain JSON lines, a header and then one trajectory a line (docs/trajectory-format.md)."""

import difflib
import gzip
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.source import head, sources
from simulator.workload.trajectory import Call, Prefix, SubAgent, Trajectory, TrajectorySet, recorded_order, trajectory_mistakes

__all__ = ["FORMAT", "is_native", "native_bytes", "native_text", "read_native", "write_native"]

FORMAT = "agentwatt-trajectories"
VERSION = 1
CONTEXTS = ("delta", "cumulative")
HEADER_KEYS = ("format", "version", "name", "context", "history", "shared_prefix_tokens", "prefixes", "provenance")
TRAJECTORY_KEYS = ("id", "labels", "arrival_s", "calls", "sub_agents")
SUB_AGENT_KEYS = ("spawned_by", "delay_s", "calls")
CALL_KEYS = {
    "delta": ("new_tokens", "kept_tokens", "output_tokens", "tool_s", "extends", "prefix", "sandbox_s", "tool"),
    "cumulative": ("prompt_tokens", "kept_tokens", "output_tokens", "tool_s", "extends", "prefix", "sandbox_s", "tool"),
}
MOST_MISTAKES = 50


def read_native(path: Path) -> TrajectorySet:
    """A set from a ``.jsonl`` or ``.jsonl.gz`` file.

    Raises
    ------
    UserError
        With every mistake of the file (at most 50), each with its line.
    """
    reader = _Reader(str(path))
    trajectories: list[Trajectory] = []
    header: dict[str, Any] = {}
    for line, text in _lines(path):
        found = reader.parse(text, line)
        if found is None:
            continue
        if not header:
            header = reader.header(found, line)
            if not header:
                break
            continue
        trajectory = reader.trajectory(found, header["context"], line)
        if trajectory is not None:
            trajectories.append(trajectory)
    if not header and not reader.mistakes:
        reader.add("", "nothing", f'a header line with "format": "{FORMAT}"')
    if reader.mistakes:
        raise UserError(reader.mistakes[:MOST_MISTAKES])
    return TrajectorySet(
        name=header.get("name", path.name.split(".")[0]),
        history=header["history"],
        shared_prefix_tokens=header.get("shared_prefix_tokens", 0),
        trajectories=tuple(trajectories),
        provenance=header.get("provenance", {}),
        prefixes=tuple(Prefix(tokens, parent) for tokens, parent in header.get("prefixes", [])),
    )


def is_native(path: Path) -> bool:
    """Whether the first line of a file is (or begins) a native header."""
    return FORMAT.encode() in head(path).lstrip().split(b"\n", 1)[0]


def native_text(trajectories: TrajectorySet) -> str:
    """A set as text of the native format, context ``delta``; keys that say the default are left out."""
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": trajectories.name,
        "context": "delta",
        "history": trajectories.history,
        "shared_prefix_tokens": trajectories.shared_prefix_tokens,
        "provenance": dict(trajectories.provenance),
    }
    if trajectories.prefixes:
        header["prefixes"] = [[prefix.tokens, prefix.parent] for prefix in trajectories.prefixes]
    rows = [header]
    for trajectory in trajectories.trajectories:
        row: dict[str, Any] = {"id": trajectory.id}
        if trajectory.labels:
            row["labels"] = dict(trajectory.labels)
        if trajectory.arrival_s is not None:
            row["arrival_s"] = trajectory.arrival_s
        main, *beside = trajectory.threads
        row["calls"] = [_call_row(trajectory, index) for index in main]
        if beside:
            row["sub_agents"] = [_sub_agent_row(trajectory, number, thread) for number, thread in enumerate(beside)]
        rows.append(row)
    return "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)


def write_native(trajectories: TrajectorySet, path: Path) -> None:
    """Writes a set; ``.gz`` in the name compresses, with no time stamp inside, so that equal sets give equal bytes."""
    path.write_bytes(native_bytes(trajectories, packed=path.suffix == ".gz"))


def native_bytes(trajectories: TrajectorySet, packed: bool) -> bytes:
    """Content of a native file; half a surrogate pair in a name becomes a question mark.

    `GzipFile` writes the same header in every Python version, which `gzip.compress` does not.
    """
    data = native_text(trajectories).encode("utf-8", "replace")
    if not packed:
        return data
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def _call_row(trajectory: Trajectory, index: int) -> dict[str, Any]:
    call, base = trajectory.calls[index], trajectory.base(index)
    row: dict[str, Any] = {"new_tokens": call.new_tokens, "output_tokens": call.output_tokens, "tool_s": call.tool_s}
    if base >= 0 and call.kept_tokens != trajectory.calls[base].prompt_tokens:
        row["kept_tokens"] = call.kept_tokens
    if call.extends is not None:
        row["extends"] = call.extends
    if call.prefix is not None:
        row["prefix"] = call.prefix
    if call.sandbox_s is not None:
        row["sandbox_s"] = call.sandbox_s
    if call.tool:
        row["tool"] = call.tool
    return row


def _sub_agent_row(trajectory: Trajectory, number: int, thread: range) -> dict[str, Any]:
    agent = trajectory.sub_agents[number]
    row: dict[str, Any] = {"spawned_by": agent.spawned_by}
    if agent.delay_s:
        row["delay_s"] = agent.delay_s
    return {**row, "calls": [_call_row(trajectory, index) for index in thread]}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that hold something, numbered from 1."""
    for source in sources(path):
        for line, text in source.lines():
            try:
                yield line, text.decode()
            except UnicodeDecodeError as error:
                raise UserError(Mistake(str(path), "", hint=f"cannot be read as text: {error}", line=line)) from error


class _Reader:
    """Turns parsed lines into objects, gathering mistakes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []

    def add(self, field: str, value: str = "", allowed: str = "", hint: str = "", line: int = 0) -> None:
        self.mistakes.append(Mistake(self.file, field, value, allowed, hint, line))

    def parse(self, text: str, line: int) -> dict[str, Any] | None:
        try:
            found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        except ValueError as error:
            self.add("", hint=f"not one JSON object a line: {error}", line=line)
            return None
        if not isinstance(found, dict):
            self.add("", type(found).__name__, "one JSON object a line", line=line)
            return None
        return found

    def header(self, found: dict[str, Any], line: int) -> dict[str, Any]:
        """The checked header; empty when the rest of the file cannot be read by it."""
        before = len(self.mistakes)
        if found.get("format") != FORMAT:
            self.add("format", repr(found.get("format")), repr(FORMAT), "the first line is the header, see docs/trajectory-format.md", line)
            return {}
        self.known_keys(found, HEADER_KEYS, "", line)
        if found.get("version") != VERSION:
            self.add("version", repr(found.get("version")), str(VERSION), line=line)
        for name, allowed in (("context", CONTEXTS), ("history", ("recorded", "generated"))):
            if found.get(name) not in allowed:
                self.add(name, repr(found.get(name)), " or ".join(allowed), "there is no default: say which", line)
        self.whole(found, "shared_prefix_tokens", "", line, default=0)
        if not isinstance(found.get("name", ""), str):
            self.add("name", repr(found["name"]), "text", line=line)
        if not _is_pairs(found.get("prefixes", [])):
            self.add(
                "prefixes",
                repr(found["prefixes"])[:40],
                "a list of pairs of whole numbers: tokens, and the prefix before it or -1",
                line=line,
            )
        if not _is_text_mapping(found.get("provenance", {})):
            self.add("provenance", repr(found["provenance"]), "an object of texts", line=line)
        return found if len(self.mistakes) == before else {}

    def trajectory(self, found: dict[str, Any], context: str, line: int) -> Trajectory | None:
        before, name = len(self.mistakes), found.get("id")
        if not isinstance(name, str) or not name:
            self.add("id", repr(name), "a text, unique in the file", line=line)
            name = "?"
        self.known_keys(found, TRAJECTORY_KEYS, f"{name}.", line)
        labels = found.get("labels", {})
        if not _is_text_mapping(labels):
            self.add(f"{name}.labels", repr(labels), "an object of texts", line=line)
        arrival_s = self.seconds(found, "arrival_s", f"{name}.", line) if "arrival_s" in found else None
        rows = self.calls(found, context, name, line)
        sub_agents: list[SubAgent] = []
        for number, row in enumerate(self.listed(found, "sub_agents", "sub-agent", name, line) if "sub_agents" in found else []):
            place = f"{name}.sub_agents[{number}]"
            if not isinstance(row, dict):
                self.add(place, repr(row)[:40], "an object", line=line)
                continue
            self.known_keys(row, SUB_AGENT_KEYS, f"{place}.", line)
            spawned_by = self.whole(row, "spawned_by", f"{place}.", line)
            sub_agents.append(SubAgent(spawned_by or 0, len(rows), self.seconds(row, "delay_s", f"{place}.", line)))
            rows += self.calls(row, context, place, line)
        if len(self.mistakes) > before:
            return None  # calls build on each other
        trajectory = _filled(Trajectory(name, (), labels, tuple(sub_agents), arrival_s), rows, context)
        self.mistakes += trajectory_mistakes(trajectory, self.file, line)
        return trajectory if len(self.mistakes) == before else None

    def listed(self, row: dict[str, Any], name: str, what: str, place: str, line: int) -> list[Any]:
        """A list of at least one; an empty one when there is a mistake."""
        found = row.get(name)
        if not isinstance(found, list) or not found:
            self.add(f"{place}.{name}", repr(found)[:40], f"a list of at least one {what}", line=line)
            return []
        return found

    def calls(self, row: dict[str, Any], context: str, place: str, line: int) -> list[Any]:
        """The rows of a thread's calls, each checked by itself."""
        rows = list(self.listed(row, "calls", "call", place, line))
        for index, call in enumerate(rows):
            self.call(call, context, f"{place}.calls[{index}]", line)
        return rows

    def call(self, row: Any, context: str, place: str, line: int) -> None:
        if not isinstance(row, dict):
            self.add(place, repr(row)[:40], "an object", line=line)
            return
        prefix = place + "."
        self.known_keys(row, CALL_KEYS[context], prefix, line)
        for name in ("extends", "kept_tokens", "prefix"):
            self.whole(row, name, prefix, line, default=None)
        for name in (CALL_KEYS[context][0], "output_tokens"):
            self.whole(row, name, prefix, line)
        self.seconds(row, "tool_s", prefix, line)
        self.seconds(row, "sandbox_s", prefix, line)
        if not isinstance(row.get("tool", ""), str):
            self.add(prefix + "tool", repr(row["tool"])[:40], "names of tools, joined by commas", line=line)

    def seconds(self, row: dict[str, Any], name: str, prefix: str, line: int) -> float:
        value = row.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            self.add(prefix + name, repr(value), "seconds >= 0", line=line)
            return 0.0
        return float(value)

    def whole(self, row: dict[str, Any], name: str, prefix: str, line: int, default: int | str | None = "required") -> int | None:
        """A whole number >= 0, or the default when the key is absent."""
        if name not in row and default != "required":
            return default  # type: ignore[return-value]
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            self.add(prefix + name, "nothing" if value is None else repr(value)[:40], "a whole number >= 0", line=line)
            return None
        return value

    def known_keys(self, row: dict[str, Any], keys: tuple[str, ...], prefix: str, line: int) -> None:
        for key in row:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                self.add(prefix + key, "an unknown key", ", ".join(keys), f"did you mean {near[0]}?" if near else "", line)


def _filled(empty: Trajectory, rows: list[dict[str, Any]], context: str) -> Trajectory:
    """A trajectory with its calls: where a row does not say what it keeps, it is the whole prompt of the call it extends."""
    kept, new = [0] * len(rows), [0] * len(rows)
    for index in recorded_order(len(rows), empty.sub_agents):
        row = rows[index]
        base, size = row.get("extends", empty.before(index)), row[CALL_KEYS[context][0]]
        kept[index] = row.get("kept_tokens", kept[base] + new[base] if 0 <= base < len(rows) else 0)
        new[index] = size if context == "delta" else size - kept[index]
    return replace(empty, calls=tuple(map(_call, kept, new, rows)))


def _call(kept_tokens: int, new_tokens: int, row: dict[str, Any]) -> Call:
    sandbox_s = float(row["sandbox_s"]) if "sandbox_s" in row else None
    tool_s, tool = float(row.get("tool_s", 0)), row.get("tool", "")
    return Call(kept_tokens, new_tokens, row["output_tokens"], tool_s, row.get("extends"), row.get("prefix"), sandbox_s, tool)


def _is_pairs(value: object) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair) for pair in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} stands twice")
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _is_text_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair)
