"""Reads agentperf-local recordings (one JSON turn a line, full messages) and keeps numbers only. Inputs: file, folder or tar archive.

What a prompt keeps is the longest common prefix of message lists, in characters scaled to recorded prompt tokens. Some harnesses end each
prompt with a turn counter that the next prompt drops: comparing messages finds that, counting tokens would not.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.records import Reading, Records
from simulator.workload.source import Source
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

METHOD = (
    "numbers only: recorded prompt and completion tokens and tool delays; kept_tokens estimated from the longest common prefix of message "
    "lists, in characters scaled to recorded prompt tokens"
)


def read_agentperf_local(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of the recorded tasks, one trajectory each; tasks whose prompt tokens were not recorded are left out and counted.

    Raises
    ------
    UserError
        When a line is no turn, or no task has prompt tokens.
    """
    records = Records(path, reading)
    counts = records.counts
    trajectories: list[Trajectory] = []
    for source in records.sources((".jsonl",), is_agentperf_local):
        turns = _turns(records, source)
        if any(turn.get("recorded_prompt_tokens") is None for turn in turns):
            counts["without tokens"] += 1
        elif turns:
            turns.sort(key=lambda turn: int(turn["conversation_idx"]))
            trajectories.append(_trajectory(turns, counts))
    records.end()
    if not trajectories:
        raise UserError(Mistake(str(path), "recorded_prompt_tokens", "no task that has them", "turns of an agentperf-local recording"))
    provenance = {
        "origin": f"agentperf-local recording {path.name}",
        "quality": "estimated",  # lengths and delays are measured, kept_tokens are not
        "method": METHOD,
        "dropped": f"{counts['without tokens']} tasks without recorded prompt tokens",
        "context": f"{counts['extensions']} of {counts['transitions']} prompts extend the whole prompt before them",
        **records.skipped(),
    }
    trajectories.sort(key=lambda trajectory: trajectory.id)
    return TrajectorySet(path.name.split(".")[0], "recorded", 0, tuple(trajectories), provenance)


def is_agentperf_local(rows: list[Any]) -> bool:
    """Whether a file begins like such a recording."""
    return any(isinstance(row, dict) and "conversation_idx" in row and "target_output_tokens" in row for row in rows)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt as the texts it is made of (tool definitions come first), with its recorded length."""

    parts: list[str]
    tokens: int

    def kept(self, later: list[str]) -> int:
        """Tokens of this prompt's beginning that a later one repeats: all, or the share of characters in whole common parts."""
        same = 0
        while same < min(len(self.parts), len(later)) and self.parts[same] == later[same]:
            same += 1
        if same == len(self.parts):
            return self.tokens
        return self.tokens * sum(map(len, self.parts[:same])) // max(1, sum(map(len, self.parts)))


def _turns(records: Records, source: Source) -> list[dict[str, Any]]:
    """The turns of a file, checked."""
    turns: list[dict[str, Any]] = []
    for row in records.rows(source):
        with records.record():
            row.whole("conversation_idx")
            row.text("task_id")
            row.rows("messages")
            row.whole("recorded_prompt_tokens", 1, None)
            if not row.whole("recorded_completion_tokens", 0, None):
                row.whole("target_output_tokens", 1)
            row.number("simulated_tool_delay_ms_after", 0.0)
            turns.append(dict(row.values))
    return turns


def _trajectory(turns: list[dict[str, Any]], counts: Counter[str]) -> Trajectory:
    prompts: list[_Prompt] = []
    calls: list[Call] = []
    for index, turn in enumerate(turns):
        parts = [_text(turn.get("tools") or [])] + [_text(message) for message in turn["messages"]]
        tokens = int(turn["recorded_prompt_tokens"])
        kept, base = max(((prompt.kept(parts), number) for number, prompt in enumerate(prompts)), default=(0, -1))
        kept = min(kept, tokens)
        if index:
            counts["transitions"] += 1
            counts["extensions"] += base == index - 1 and kept == prompts[base].tokens
        output = turn.get("recorded_completion_tokens") or turn["target_output_tokens"]
        tool_s = round(float(turn.get("simulated_tool_delay_ms_after") or 0.0) / 1000, 6)
        calls.append(Call(kept, tokens - kept, int(output), tool_s, None if base == index - 1 else base))
        prompts.append(_Prompt(parts, tokens))
    source = turns[0].get("source")
    labels = {"harness": str(source["adapter"])} if isinstance(source, dict) and "adapter" in source else {}
    return Trajectory(str(turns[0]["task_id"]), tuple(calls), labels)


def _text(part: object) -> str:
    return json.dumps(part, sort_keys=True, ensure_ascii=False)
