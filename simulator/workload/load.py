"""Finds and reads trajectories by what they are: a shipped name, a native file, or a foreign log recognised from its content."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.catalog import find_data, is_there, refuse_stream
from simulator.errors import Mistake, UserError
from simulator.workload.agentperf_local import is_agentperf_local, read_agentperf_local
from simulator.workload.aiperf_export import is_aiperf_export, read_aiperf_export
from simulator.workload.aiperf_inputs import is_aiperf_inputs, read_aiperf_inputs
from simulator.workload.azure import is_azure, read_azure
from simulator.workload.burstgpt import is_burstgpt, read_burstgpt
from simulator.workload.claude_code import is_claude_code, read_claude_code
from simulator.workload.codex import is_codex, read_codex
from simulator.workload.dynamo import is_dynamo, read_dynamo
from simulator.workload.journal import is_journal, read_journal
from simulator.workload.litellm import is_litellm, read_litellm
from simulator.workload.mini_swe_agent import is_mini_swe_agent, read_mini_swe_agent
from simulator.workload.mooncake import is_mooncake, read_mooncake
from simulator.workload.native import FORMAT, is_native, read_native
from simulator.workload.opencode import is_opencode, read_opencode
from simulator.workload.openhands import is_openhands, read_openhands
from simulator.workload.otel import is_otel, read_otel
from simulator.workload.qwen import is_qwen, read_qwen
from simulator.workload.records import Reading
from simulator.workload.source import Source, sources
from simulator.workload.swe_agent import is_swe_agent, read_swe_agent
from simulator.workload.trajectory import TrajectorySet
from simulator.workload.weka import is_weka, read_weka


@dataclass(frozen=True)
class Format:
    """A foreign log.

    Attributes
    ----------
    name : str
    matches : callable
        Whether the first rows of a file (JSON values, or the header cells of a CSV) are of this format.
    read : callable
    keys : tuple of str
        What its records have, to find the nearest format for a file of none.
    """

    name: str
    matches: Callable[[list[Any]], bool]
    read: Callable[[Path, Reading], TrajectorySet]
    keys: tuple[str, ...]


FORMATS = (
    Format("Weka sessions", is_weka, read_weka, ("block_size", "requests", "hash_id_scope", "id")),
    Format("agentperf-local recording", is_agentperf_local, read_agentperf_local,
           ("messages", "conversation_idx", "target_output_tokens", "recorded_prompt_tokens", "task_id")),
    Format("AIPerf records", is_aiperf_export, read_aiperf_export, ("metadata", "metrics", "error")),
    Format("AIPerf inputs", is_aiperf_inputs, read_aiperf_inputs, ("session_id", "turns", "text_input", "messages", "output_length")),
    Format("Qwen trace", is_qwen, read_qwen, ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")),
    Format("Dynamo trace", is_dynamo, read_dynamo,
           ("session_id", "request_id", "wait_for", "input_length", "output_length", "hash_ids", "delay")),
    Format("Mooncake trace", is_mooncake, read_mooncake, ("timestamp", "input_length", "output_length", "hash_ids")),
    Format("SWE-agent run", is_swe_agent, read_swe_agent, ("trajectory", "history", "info", "environment")),
    Format("mini-swe-agent run", is_mini_swe_agent, read_mini_swe_agent, ("trajectory_format", "messages", "info", "instance_id")),
    Format("OpenHands run", is_openhands, read_openhands, ("instance_id", "history", "metrics", "metadata")),
    Format("Claude Code session", is_claude_code, read_claude_code, ("type", "uuid", "parentUuid", "sessionId", "timestamp", "message")),
    Format("Codex rollout", is_codex, read_codex, ("timestamp", "type", "payload")),
    Format("OpenCode storage", is_opencode, read_opencode, ("id", "sessionID", "messageID", "role", "time", "tokens", "modelID")),
    Format("LiteLLM log", is_litellm, read_litellm, ("startTime", "endTime", "prompt_tokens", "completion_tokens", "trace_id", "status")),
    Format("OpenTelemetry spans", is_otel, read_otel, ("resourceSpans", "scopeSpans", "spans")),
    Format("Azure trace", is_azure, read_azure, ("TIMESTAMP", "ContextTokens", "GeneratedTokens")),
    Format("BurstGPT trace", is_burstgpt, read_burstgpt, ("Timestamp", "Model", "Request tokens", "Response tokens")),
)  # fmt: skip
"""Every foreign format. The first that matches reads, so a format stands before those whose keys it has besides its own."""


def load_trajectories(ref: str | Path, reading: Reading = Reading()) -> TrajectorySet:
    """A trajectory set.

    Parameters
    ----------
    ref : str or Path
        Name of a shipped set (`agentperf_like`), or path of a native file (``.jsonl``, ``.jsonl.gz``) or of a foreign log: a file, a
        folder or a tar archive, packed or not, of one of the `FORMATS`; or of a journal of `agentwatt record`.
    reading : Reading
        What to do with bad records, and choices that a foreign log leaves open.

    Raises
    ------
    UserError
        When there is nothing of that name, or its content is none of these or holds mistakes.

    Examples
    --------
    >>> from simulator import load_trajectories
    >>> found = load_trajectories("agentperf_like")
    >>> len(found.trajectories), found.trajectories[0].calls[0].prompt_tokens
    (400, 5409)
    """
    path = Path(ref)
    if not is_there(path):
        if path.suffix or len(path.parts) > 1:
            hint = "relative paths start where the command runs"
            raise UserError(Mistake(str(ref), "trajectories", "no such file or folder", hint=hint))
        return read_native(find_data("trajectories", str(ref)))
    refuse_stream(path)
    if path.is_file() and is_native(path):
        return read_native(path)
    if path.is_file() and is_journal(path):
        return read_journal(path, reading.idle_cap_s)
    return _format(path, reading).read(path, reading)


def format_of(rows: list[Any]) -> Format | None:
    """The format of a file, by what it begins with."""
    return next((known for known in FORMATS if known.matches(rows)), None)


def _format(path: Path, reading: Reading) -> Format:
    """Format of the first file under a path that has one."""
    seen: list[tuple[Source, list[Any]]] = []
    damaged: UserError | None = None
    for source in sources(path, (), reading.limits):
        try:
            rows = source.first_rows()
        except UserError as error:
            damaged = damaged or error
            continue
        known = format_of(rows)
        if known is not None:
            return known
        if rows:
            seen.append((source, rows))
    if damaged is not None and not seen:
        raise damaged
    raise UserError(_nearest(path, seen))


def _nearest(path: Path, seen: list[tuple[Source, list[Any]]]) -> Mistake:
    """What to say of content that is of no format: which it comes nearest to, and what is missing for that."""
    names = f'a native file (header "format": "{FORMAT}"), ' + ", ".join(known.name for known in FORMATS)
    if not seen:
        return Mistake(str(path), "", "nothing that is JSON, JSON lines or CSV", names)
    source, rows = seen[0]
    found = {str(key) for row in rows for key in row if isinstance(key, str)}
    share = {known.name: sum(_has(key, found) for key in known.keys) / len(known.keys) for known in FORMATS}
    nearest = max(FORMATS, key=lambda known: share[known.name])
    hint = ""
    if share[nearest.name]:
        lacking = ", ".join(key for key in nearest.keys if key not in found)
        hint = f"nearest: {nearest.name}; it lacks {lacking}"
    keys = f"with keys {', '.join(sorted(found)[:8])}" if found else "without keys"
    return Mistake(source.place, "", f"a format that is not known, {keys}", names, hint, 1)


def _has(key: str, found: set[str]) -> bool:
    return key in found or bool(difflib.get_close_matches(key, found, 1, 0.85))
