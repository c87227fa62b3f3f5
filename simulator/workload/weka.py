"""Reads Weka sessions (kv-cache-tester): one JSON object per session with prompts as chained block hashes. Inputs: file, folder or tar.

Prompts share what their hashes share: the longest common prefix with *any* earlier request of the session, found in a compressed radix
tree of hash ids. Requests of sub-agents are replayed in line, in order of start, as part of the parent's chain.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.source import files
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

IDLE_CAP_S = 60.0
"""Longest wait replayed after a call. The recording's waits mix tools and people; longer ones are cut to this (an assumption)."""
TOOL_CUT, PERSON_CUT = "waits cut after a tool", "waits cut after a person"


def read_weka(path: Path, idle_cap_s: float = IDLE_CAP_S) -> TrajectorySet:
    """A set from Weka session JSON: a file, a folder of files, or a tar archive of them.

    Sessions with equal requests are read once; requests without output or with an error are skipped; waits over `idle_cap_s` seconds
    are cut to it. ``provenance`` counts all three.

    Raises
    ------
    UserError
        When nothing can be read, or a file is no such session.
    """
    counts: Counter[str] = Counter()
    trajectories: dict[str, Trajectory] = {}
    digests: set[bytes] = set()
    for name, content in files(path, ".json"):
        counts["files"] += 1
        session = _session(f"{path}/{name}" if path.name != name else str(path), content)
        digest = _digest(session["requests"])
        if digest in digests:
            counts["duplicates"] += 1
            continue
        digests.add(digest)
        trajectory = _trajectory(session, Path(name).stem, idle_cap_s, counts)
        if trajectory is None:
            counts["empty"] += 1
        else:
            trajectories[trajectory.id if trajectory.id not in trajectories else name] = trajectory
    if not trajectories:
        raise UserError(Mistake(str(path), "requests", "no session with a request", "Weka session files (*.json)"))
    provenance = {
        "origin": f"Weka sessions of {path.name}",
        "quality": "measured",
        "cut": f"waits over {idle_cap_s:g} s cut to that: {counts[TOOL_CUT]} after tools, {counts[PERSON_CUT]} after people",
        "dropped": f"{counts['duplicates']} duplicates of {counts['files']} sessions; {counts['skipped']} requests (no output, or error)",
        "sub_agents": f"{counts['sub-agent requests']} requests of sub-agents replayed in line",
    }
    ordered = tuple(Trajectory(key, trajectories[key].calls, trajectories[key].labels) for key in sorted(trajectories))
    return TrajectorySet(path.name.split(".")[0], "recorded", 0, ordered, provenance)


def is_weka(content: bytes) -> bool:
    """Whether the beginning of a file looks like a Weka session."""
    return content.lstrip().startswith(b"{") and b'"block_size"' in content and b'"requests"' in content


@dataclass(frozen=True, slots=True)
class _Request:
    """A request on the session's clock. ``wait_s`` is the recorded wait after the request that started at ``waited_on_s``."""

    start_s: float
    model_s: float | None
    wait_s: float | None
    waited_on_s: float | None
    prompt_tokens: int
    output_tokens: int
    hash_ids: list[int]
    by_tool: bool


def _session(file: str, content: bytes) -> dict[str, Any]:
    try:
        session = json.loads(content, parse_constant=_refuse_constant)
    except ValueError as error:
        raise UserError(Mistake(file, "", hint=f"not JSON: {error}")) from error
    good = isinstance(session, dict) and isinstance(session.get("requests"), list) and isinstance(session.get("block_size"), int)
    if not good or session["block_size"] < 1:
        raise UserError(Mistake(file, "", "no Weka session", "an object with block_size (>= 1) and requests"))
    return {**session, "file": file}


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _digest(requests: Iterable[Any]) -> bytes:
    """Digest of what a session asked for, times and names aside."""
    digest = hashlib.blake2b(digest_size=16)
    for request in requests:
        if not isinstance(request, dict):
            digest.update(repr(request).encode())  # refused with its place later
        elif request.get("type") == "subagent":
            digest.update(_digest(request.get("requests", [])))
        else:
            digest.update(repr((request.get("in"), request.get("out"))).encode())
            digest.update(_bytes(request.get("hash_ids")))
    return digest.digest()


def _bytes(hash_ids: Any) -> bytes:
    try:
        ids: array[int] = array("q", hash_ids)
        return ids.tobytes()
    except (TypeError, OverflowError):
        return repr(hash_ids).encode()  # refused with its place later, if it is no list


def _trajectory(session: dict[str, Any], stem: str, idle_cap_s: float, counts: Counter[str]) -> Trajectory | None:
    size, requests = session["block_size"], _Rows(session, counts).requests()
    prompts, calls = _Prompts(), list[Call]()
    for index, request in enumerate(requests):
        blocks, extends = prompts.add(request.hash_ids)
        kept = blocks * size
        if index:
            base = requests[extends]
            if blocks == len(base.hash_ids) and base.prompt_tokens <= request.prompt_tokens:
                kept = base.prompt_tokens  # the tail under one block has no hash: taken as kept when every full block is
        wait_s = 0.0 if index + 1 == len(requests) else _wait_s(request, requests[index + 1])
        if wait_s > idle_cap_s:
            counts[TOOL_CUT if requests[index + 1].by_tool else PERSON_CUT] += 1
            wait_s = idle_cap_s
        before = None if extends == index - 1 else extends
        calls.append(Call(kept, request.prompt_tokens - kept, request.output_tokens, round(wait_s, 3), before))
    labels = {"models": ",".join(map(str, session.get("models", [])))}
    return Trajectory(str(session.get("id") or stem), tuple(calls), labels) if calls else None


def _wait_s(request: _Request, after: _Request) -> float:
    """Seconds between two requests; where the model's time was not recorded it is part of the wait."""
    if after.wait_s is not None and request.model_s is not None and after.waited_on_s == request.start_s:
        return max(0.0, after.wait_s)
    return max(0.0, after.start_s - request.start_s - (request.model_s or 0.0))


class _Rows:
    """The rows of one session, checked and put in line; mistakes are gathered with their place."""

    def __init__(self, session: dict[str, Any], counts: Counter[str]) -> None:
        self.session, self.counts = session, counts
        self.found: list[_Request] = []
        self.mistakes: list[Mistake] = []

    def requests(self) -> list[_Request]:
        """Requests of the session and its sub-agents in order of start, without those that have nothing to replay."""
        before: float | None = None
        for index, row in enumerate(self.session["requests"]):
            if isinstance(row, dict) and row.get("type") == "subagent":
                self.sub_agent(row, f"requests[{index}]")
                before = None
            else:
                before = self.append(row, 0.0, before, f"requests[{index}]")
        if self.mistakes:
            raise UserError(self.mistakes)
        return sorted(self.found, key=lambda request: request.start_s)

    def sub_agent(self, row: dict[str, Any], place: str) -> None:
        """The requests of a sub-agent; their times count from the marker, or from the session's start in newer captures."""
        inner, marker_s = row.get("requests") or [], row.get("t", 0.0)
        starts = [child["t"] for child in inner if isinstance(child, dict) and isinstance(child.get("t"), int | float)]
        offset_s = marker_s if starts and min(starts) < marker_s else 0.0
        for number, child in enumerate(inner):
            self.append(child, offset_s, None, f"{place}.requests[{number}]")
        self.counts["sub-agent requests"] += len(inner)

    def append(self, row: Any, offset_s: float, before: float | None, place: str) -> float | None:
        """Adds one request and returns its start; None when there is nothing to replay, so that the next one has no neighbour."""
        if not isinstance(row, dict):
            self.mistakes.append(Mistake(self.session["file"], place, str(row)[:40], "an object"))
            return None
        if row.get("error") or row.get("out") == 0:
            self.counts["skipped"] += 1
            return None
        count = len(self.mistakes)
        for name in ("in", "out"):
            self.check(isinstance(row.get(name), int) and row[name] >= 1, row, place, name, "a whole number >= 1")
        for name in ("t", "api_time", "think_time"):
            self.check(isinstance(row.get(name, 0.0), int | float), row, place, name, "seconds")
        ids = row.get("hash_ids")
        self.check(isinstance(ids, list), row, place, "hash_ids", "a list of block hashes")
        if len(self.mistakes) > count:
            return None
        self.check(len(row["hash_ids"]) * self.session["block_size"] <= row["in"], row, place, "hash_ids", "at most in // block_size ids")
        start_s, by_tool = float(row.get("t", 0.0)) + offset_s, "tool_result" in (row.get("input_types") or [])
        wait_s = row.get("think_time")
        self.found.append(_Request(start_s, row.get("api_time"), wait_s, before, row["in"], row["out"], row["hash_ids"], by_tool))
        return start_s

    def check(self, good: bool, row: dict[str, Any], place: str, name: str, allowed: str) -> None:
        if not good:
            self.mistakes.append(Mistake(self.session["file"], f"{place}.{name}", str(row.get(name))[:40], allowed))


class _Node:
    """A run of hash ids between two branch points; `owner` is the first request that has it."""

    __slots__ = ("after", "ids", "owner")

    def __init__(self, ids: list[int], owner: int) -> None:
        self.ids, self.owner = ids, owner
        self.after: dict[int, _Node] = {}


class _Prompts:
    """The prompts of a session so far, as a compressed radix tree: adding one costs its length once, at the speed of a list compare."""

    def __init__(self) -> None:
        self.root = _Node([], 0)
        self.last: list[int] = []
        self.last_end = self.root
        self.count = 0

    def add(self, ids: list[int]) -> tuple[int, int]:
        """Longest common prefix with any earlier prompt in blocks, and which request has it (the one before where it does)."""
        index, known = self.count, _common(self.last, ids)
        # Most prompts extend the one before: start where that one ended.
        node, depth = (self.last_end, known) if known == len(self.last) else (self.root, 0)
        owner = index - 1
        while depth < len(ids) and ids[depth] in node.after:
            child = node.after[ids[depth]]
            same = _common(child.ids, ids[depth : depth + len(child.ids)])
            if same < len(child.ids):
                child = _split(node, child, same)
            node, depth = child, depth + same
            if depth > known:
                owner = child.owner
        matched = depth
        if depth < len(ids):
            node.after[ids[depth]] = node = _Node(ids[depth:], index)
        self.last, self.last_end, self.count = ids, node, index + 1
        return matched, owner


def _split(above: _Node, child: _Node, length: int) -> _Node:
    """Cuts a node in two and returns the upper part; the lower one stays the same object."""
    upper = _Node(child.ids[:length], child.owner)
    above.after[upper.ids[0]] = upper
    child.ids = child.ids[length:]
    upper.after[child.ids[0]] = child
    return upper


def _common(one: list[int], other: list[int]) -> int:
    """Length of the common prefix of two lists, by slice compares."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
