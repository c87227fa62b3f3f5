"""Reads Weka sessions (kv-cache-tester): one JSON object per session with prompts as chained block hashes. Inputs: file, folder or tar.

Prompts share what their hashes share: the longest common prefix with *any* request of the session that is certainly over before, found in
compressed radix trees of hash ids. Sub-agents run beside each other and are joined before the parent's next request
(docs/trajectory-format.md says how their times are read).
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.hash_tree import HashTree
from simulator.workload.records import Reading, Records
from simulator.workload.trajectory import Call, SubAgent, Trajectory, TrajectorySet
from simulator.workload.weka_rows import Request, Thread, read_session

TOOL_CUT, PERSON_CUT, SPAWN_CUT = "waits cut after a tool", "waits cut after a person", "waits cut before a sub-agent"


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
    for source in records.sources((".json",), is_weka):
        with records.record():
            session = _session(source.place, source.document())
            digest = _digest(session["requests"])
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


def _digest(requests: Any) -> bytes:
    """Digest of what a session asked for, times and names aside."""
    digest = hashlib.blake2b(digest_size=16)
    for request in requests if isinstance(requests, list) else [requests]:
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
    main = read_session(session, counts)
    if not main.requests:
        return None
    threads = _laid_out(main)
    shares = dict(_shares(main, []))
    flat = [request for thread in threads for request in thread.requests]
    calls: list[Call] = []
    for thread in threads:
        for number in range(len(thread.requests)):
            wait_s = 0.0
            if number + 1 < len(thread.requests):
                after = thread.requests[number + 1]
                wait_s = _capped(_wait_s(thread, number), idle_cap_s, TOOL_CUT if after.by_tool else PERSON_CUT, counts)
            calls.append(_call(flat, len(calls), shares[len(calls)], number > 0, session["block_size"], wait_s))
    sub_agents = [_sub_agent(above, agent, idle_cap_s, counts) for above in threads for agent in above.agents]
    models = session.get("models")
    labels = {"model": ",".join(map(str, models))} if isinstance(models, list) and models else {}
    return Trajectory(str(session.get("id") or stem), tuple(calls), labels, tuple(sub_agents))


def _laid_out(main: Thread) -> list[Thread]:
    """All threads in the order of a trajectory, each told where its calls begin."""
    threads, count = [main], 0
    for thread in threads:  # grows as it goes
        thread.first, count = count, count + len(thread.requests)
        threads += thread.agents
    return threads


def _shares(thread: Thread, above: list[HashTree]) -> Iterator[tuple[int, tuple[int, int]]]:
    """By index of a call: leading blocks that a call which is over before has, and the index of that call, -1 for none."""
    own = HashTree()
    for number, request in enumerate(thread.requests):
        index = thread.first + number
        found = own.extend(request.hash_ids, index)
        for tree in reversed(above):
            beyond = tree.find(request.hash_ids)
            found = beyond if beyond[0] > found[0] else found
        yield index, found
        spawned = thread.spawned(number)
        for agent in spawned:
            yield from _shares(agent, [*above, own])
        for agent in spawned:
            for place, theirs in agent.in_recorded_order():
                own.join(theirs.hash_ids, place)


def _call(flat: list[Request], index: int, share: tuple[int, int], follows: bool, size: int, wait_s: float) -> Call:
    request, (blocks, base) = flat[index], share
    kept = blocks * size
    if base >= 0 and blocks == len(flat[base].hash_ids) and flat[base].prompt_tokens <= request.prompt_tokens:
        kept = flat[base].prompt_tokens  # the tail under one block has no hash: taken as kept when every full block is
    extends = None if base < 0 or (follows and base == index - 1) else base
    return Call(kept, request.prompt_tokens - kept, request.output_tokens, round(wait_s, 3), extends)


def _sub_agent(above: Thread, agent: Thread, idle_cap_s: float, counts: Counter[str]) -> SubAgent:
    spawning = above.requests[agent.spawned_by]
    counts["sub-agents"] += 1
    if agent.spawned_by + 1 < len(above.requests) and agent.end_s > above.requests[agent.spawned_by + 1].start_s:
        counts["late"] += 1
    delay_s = _capped(max(0.0, agent.requests[0].start_s - spawning.end_s), idle_cap_s, SPAWN_CUT, counts)
    return SubAgent(above.first + agent.spawned_by, agent.first, round(delay_s, 3))


def _capped(wait_s: float, idle_cap_s: float, what: str, counts: Counter[str]) -> float:
    if wait_s <= idle_cap_s:
        return wait_s
    counts[what] += 1
    return idle_cap_s


def _wait_s(thread: Thread, number: int) -> float:
    """Seconds from a request, or from the last of its sub-agents that was over by then, to the next one of its thread; where the model's
    time was not recorded it is part of the wait."""
    request, after = thread.requests[number], thread.requests[number + 1]
    joined = [agent.end_s for agent in thread.spawned(number) if agent.end_s <= after.start_s]
    if not joined and after.wait_s is not None and request.model_s is not None and after.waited_on_s == request.start_s:
        return max(0.0, after.wait_s)
    return max(0.0, after.start_s - max([request.end_s, *joined]))
