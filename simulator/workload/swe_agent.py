"""Reads SWE-agent and SWE-smith trajectories (``.traj``): steps with their messages and execution times. Inputs: file, folder or archive.

A step has no token counts and no clock. Prompts are its messages (where older files lack them: the history up to its answer), counted by
the rule of `messages`; where the run's totals were recorded the counts of its steps are scaled to them.
"""

from pathlib import Path, PurePath
from typing import Any

from simulator.workload.messages import Prompt, estimated_tokens, prompt_of
from simulator.workload.records import Reading, Records, Row
from simulator.workload.session import Request, Thread
from simulator.workload.sessions import COMPARED, Sessions
from simulator.workload.trajectory import TrajectorySet


def read_swe_agent(path: Path, reading: Reading = Reading()) -> TrajectorySet:
    """A set of runs, one a file. Waits are the execution times; those of files without them are 0.

    Raises
    ------
    UserError
        When a file is no run, or a step's fields are wrong.
    """
    records = Records(path, reading)
    sessions = Sessions(records, common=True)
    for source in records.sources((".traj", ".json"), is_swe_agent):
        with records.record():
            run = records.document(source)
            thread = _thread(run, records)
            labels = {"harness": "SWE-agent", "environment": run.text("environment", "")}
            sessions.add(PurePath(source.name).name.removesuffix(".traj"), thread, labels)
    counts = records.counts
    method = f"estimated tokens: {reading.token_rule.name}; {COMPARED}"
    scaled = f"{counts['scaled']} of {counts['files']} runs scaled to their recorded totals; {counts['timed']} steps with an execution time"
    return sessions.as_set("SWE-agent runs", "estimated", method, counts=scaled)


def is_swe_agent(rows: list[Any]) -> bool:
    """Whether a file is a SWE-agent run."""
    return bool(rows) and isinstance(rows[0], dict) and isinstance(rows[0].get("trajectory"), list) and "info" in rows[0]


def _thread(run: Row, records: Records) -> Thread:
    steps = run.rows("trajectory")
    prompts = _prompts(run, steps, records.reading)
    stats = (run.inner("info").inner("model_stats", None)) or Row(run.file, 0, {})
    estimated = [prompt.tokens for prompt in prompts]
    answers = [estimated_tokens(step.text("response", " "), records.reading) for step in steps[: len(prompts)]]
    sent, received = stats.whole("tokens_sent", 0, 0), stats.whole("tokens_received", 0, 0)
    records.counts["scaled"] += bool(sent)
    thread, clock_s = Thread(), 0.0
    for step, prompt, size, answer in zip(steps, prompts, _scaled(estimated, sent), _scaled(answers, received), strict=False):
        ran_s = step.number("execution_time", None)
        records.counts["timed"] += ran_s is not None
        tool = str(step.values.get("action") or "").split(maxsplit=1)[:1]
        thread.requests.append(
            Request(clock_s, 0.0, size, answer, prompt.ids, prompt.ends(size), sandbox_s=ran_s, tools=tuple(tool), model=_model(run))
        )
        clock_s += ran_s or 0.0
    return thread


def _prompts(run: Row, steps: list[Row], reading: Reading) -> list[Prompt]:
    """The prompt of each step."""
    if all(isinstance(step.values.get("messages", step.values.get("query")), list) for step in steps):
        return [prompt_of(step.values.get("messages") or step.values.get("query") or [], reading) for step in steps]
    history = run.rows("history")
    answers = [n for n, message in enumerate(history) if message.values.get("role") == "assistant" and not message.values.get("is_demo")]
    if len(answers) < len(steps):
        run.refuse("history", f"an answer for each of {len(steps)} steps")
    return [prompt_of([message.values for message in history[:n]], reading) for n in answers[: len(steps)]]


def _scaled(sizes: list[int], total: int) -> list[int]:
    """Sizes whose sum is the recorded total; as they are where none was recorded."""
    whole = sum(sizes)
    return [max(1, round(size * total / whole)) for size in sizes] if total and whole else sizes


def _model(run: Row) -> str:
    config = run.values.get("replay_config")
    try:
        return str(config["agent"]["model"]["name"]) if isinstance(config, dict) else ""
    except (KeyError, TypeError):
        return ""
