"""Reads Weka sessions (kv-cache-tester): one JSON object per session with prompts as chained block hashes. Inputs: file, folder or tar.

Prompts share what their hashes share: the longest common prefix with *any* request of the session that is certainly over before, found in
compressed radix trees of hash ids. Sub-agents run beside each other and are joined before the parent's next request
(docs/trajectory-format.md says how their times are read).
"""

import hashlib
from array import array
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.records import Reading, Records
from simulator.workload.session import PERSON_CUT, SPAWN_CUT, TOOL_CUT, laid_out, session_trajectory
from simulator.workload.trajectory import Trajectory, TrajectorySet
from simulator.workload.weka_rows import read_session
from simulator.workload.weka_text import parse_session


def read_weka(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set from Weka session JSON: a file, a folder of files, or a tar archive of them.

    Sessions with equal requests are read once; requests without output or with an error are skipped; waits over the reading's
    `idle_cap_s` seconds are cut to it. ``provenance`` counts all three.

    Raises
    ------
    UserError
        When nothing can be read, or a file is no such session.
    """
    records = Records(path, reading)
    counts, idle_cap_s = records.counts, reading.idle_cap_s
    trajectories: dict[str, Trajectory] = {}
    digests: set[bytes] = set()
    for source, text in records.texts((".json",), (b'"block_size"', b'"requests"')):
        with records.record():
            session = _session(source.place, parse_session(text, source.place))
            digest = _digest(session["requests"], source.place)
            if digest in digests:
                counts["duplicates"] += 1
                continue
            trajectory = _trajectory(session, Path(source.name).stem, idle_cap_s, counts)
            digests.add(digest)
            if trajectory is None:
                counts["empty"] += 1
            else:
                trajectories[trajectory.id if trajectory.id not in trajectories else source.name] = trajectory
    records.end()
    if not trajectories:
        raise UserError(Mistake(str(path), "requests", "no session with a request", "Weka session files (*.json)"))
    provenance = {
        "origin": f"Weka sessions of {path.name}",
        "quality": "measured",
        "cut": f"waits over {idle_cap_s:g} s cut to that: {counts[TOOL_CUT]} after tools, {counts[PERSON_CUT]} after people, "
        f"{counts[SPAWN_CUT]} before sub-agents",
        "dropped": f"{counts['duplicates']} duplicates of {counts['files']} sessions; {counts['skipped']} requests (no output, or error)",
        "sub_agents": f"{counts['sub-agents']} sub-agents of {counts['sub-agent requests']} requests run beside each other; "
        f"{counts['late']} that outlived their parent's next request are joined before it; {counts['orphans']} without a parent left out",
        **records.skipped(),
    }
    ordered = tuple(replace(trajectories[key], id=key) for key in sorted(trajectories))
    return TrajectorySet(path.name.split(".")[0], "recorded", 0, ordered, provenance)


def is_weka(rows: list[Any]) -> bool:
    """Whether a file begins like a Weka session."""
    return bool(rows) and isinstance(rows[0], dict) and "block_size" in rows[0] and "requests" in rows[0]


def _session(file: str, session: Any) -> dict[str, Any]:
    good = isinstance(session, dict) and isinstance(session.get("requests"), list) and type(session.get("block_size")) is int
    if not good or session["block_size"] < 1:
        raise UserError(Mistake(file, "", "no Weka session", "an object with block_size (>= 1) and requests"))
    return {**session, "file": file}


def _digest(requests: Any, file: str, place: str = "") -> bytes:
    """Digest of what a session asked for, times and names aside."""
    digest = hashlib.blake2b(digest_size=16)
    for number, request in enumerate(requests if isinstance(requests, list) else [requests]):
        inside = f"{place}requests[{number}]"
        if not isinstance(request, dict):
            digest.update(repr(request).encode())  # refused with its place later
        elif request.get("type") == "subagent":
            digest.update(_digest(request.get("requests", []), file, f"{inside}."))
        else:
            digest.update(repr((request.get("in"), request.get("out"))).encode())
            digest.update(_bytes(request.get("hash_ids"), file, inside))
    return digest.digest()


def _bytes(hash_ids: Any, file: str, place: str) -> bytes:
    if not isinstance(hash_ids, list):
        return repr(hash_ids).encode()  # refused with its place later
    try:
        ids: array[int] = array("q", hash_ids)
        return ids.tobytes()
    except (TypeError, OverflowError) as error:
        raise UserError(Mistake(file, f"{place}.hash_ids", repr(hash_ids)[:40], "a list of whole numbers below 2**63")) from error


def _trajectory(session: dict[str, Any], stem: str, idle_cap_s: float, counts: Counter[str]) -> Trajectory | None:
    main = read_session(session, counts)
    if not main.requests:
        return None
    models = session.get("models")
    labels = {"model": ",".join(map(str, models))} if isinstance(models, list) and models else {}
    return session_trajectory(str(session.get("id") or stem), laid_out(main), idle_cap_s, counts, labels)
