"""A recorded session as threads of requests on one clock, and the trajectory it becomes. Inputs: what the reader of a log found.

What a prompt keeps is the longest common prefix with any request of the session that is certainly over before: of block hashes or of
messages where the log has them. Where it has counts only, a prompt that is no shorter than the one before keeps all of that; a shorter one
(a compaction) keeps what the provider's cache served, or nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from simulator.workload.hash_tree import HashTree
from simulator.workload.trajectory import Call, SubAgent, Trajectory

TOOL_CUT, PERSON_CUT, SPAWN_CUT = "waits cut after a tool", "waits cut after a person", "waits cut before a sub-agent"


@dataclass(frozen=True, slots=True)
class Request:
    """A request on the session's clock.

    Attributes
    ----------
    start_s : float
        When it was sent.
    model_s : float or None
        How long the model took; None where that was not recorded, and is then part of the wait after it.
    prompt_tokens, output_tokens : int
        The whole prompt, cached part included; generated tokens.
    ids : list of int or None
        What the prompt consists of, as block hashes or numbers of messages; None where only counts are known.
    ends : int or sequence of int
        Tokens of a block, or by id the tokens from the beginning of the prompt to its end.
    by_tool : bool
        Whether a tool's result, not a person, came before it.
    wait_s, waited_on_s : float or None
        The recorded wait after the request that started at ``waited_on_s``, where the log states it.
    cached_tokens : int or None
        Prompt tokens that the provider's cache served.
    sandbox_s : float or None
        How long the tools that it called ran.
    tools : tuple of str
    model : str
    """

    start_s: float
    model_s: float | None
    prompt_tokens: int
    output_tokens: int
    ids: list[int] | None = None
    ends: int | Sequence[int] = 0
    by_tool: bool = True
    wait_s: float | None = None
    waited_on_s: float | None = None
    cached_tokens: int | None = None
    sandbox_s: float | None = None
    tools: tuple[str, ...] = ()
    model: str = ""

    @property
    def end_s(self) -> float:
        """When it was over, as far as known."""
        return self.start_s + (self.model_s or 0.0)

    def tokens_at(self, count: int) -> int:
        """Tokens of the first so many ids."""
        if isinstance(self.ends, int):
            return min(count * self.ends, self.prompt_tokens)
        return min(self.ends[count - 1], self.prompt_tokens) if count else 0


@dataclass(slots=True)
class Thread:
    """Requests that follow each other, and the sub-agents that some of them spawned."""

    requests: list[Request] = field(default_factory=list)
    agents: list[Thread] = field(default_factory=list)
    launch_s: float = 0.0
    spawned_by: int = 0  # number of the request of the thread above
    first: int = 0  # index in the trajectory of its first call

    @property
    def end_s(self) -> float:
        return max([request.end_s for request in self.requests] + [agent.end_s for agent in self.agents])

    def in_recorded_order(self) -> Iterator[tuple[int, Request]]:
        """Index in the trajectory and request, of this thread and all below: a request, what it spawned, the next request."""
        for number, request in enumerate(self.requests):
            yield self.first + number, request
            for agent in self.spawned(number):
                yield from agent.in_recorded_order()

    def spawned(self, number: int) -> list[Thread]:
        return [agent for agent in self.agents if agent.spawned_by == number]


def attach(above: Thread, thread: Thread) -> None:
    """Hangs a sub-agent below the last request of another thread that was sent before its own first."""
    if not above.requests or not thread.requests:
        return
    thread.launch_s = thread.requests[0].start_s
    thread.spawned_by = max(0, bisect_right([request.start_s for request in above.requests], thread.launch_s) - 1)
    above.agents.append(thread)
    above.agents.sort(key=lambda one: (one.spawned_by, one.launch_s))


def laid_out(main: Thread) -> list[Thread]:
    """All threads in the order of a trajectory, each told where its calls begin."""
    threads, count = [main], 0
    for thread in threads:  # grows as it goes
        thread.first, count = count, count + len(thread.requests)
        threads += thread.agents
    return threads


def session_trajectory(name: str, threads: Sequence[Thread], idle_cap_s: float, counts: Counter[str], labels: dict[str, str]) -> Trajectory:
    """The trajectory of a session's threads, as `laid_out` has them; `counts` grows by waits that are cut and sub-agents.

    Waits over `idle_cap_s` are cut to it; `tool_s` is the wall gap, `sandbox_s` what the tools took of it.
    """
    shares = dict(_shares(threads[0], []))
    flat = [request for thread in threads for request in thread.requests]
    calls: list[Call] = []
    for thread in threads:
        for number, request in enumerate(thread.requests):
            wait_s = 0.0
            if number + 1 < len(thread.requests):
                after = thread.requests[number + 1]
                wait_s = _capped(_wait_s(thread, number), idle_cap_s, TOOL_CUT if after.by_tool else PERSON_CUT, counts)
            kept, extends = _kept(flat, len(calls), shares[len(calls)], number > 0)
            sandbox_s = None if request.sandbox_s is None else round(request.sandbox_s, 6)
            new, tools = request.prompt_tokens - kept, ",".join(sorted(set(request.tools)))
            calls.append(Call(kept, new, request.output_tokens, round(wait_s, 6), extends, None, sandbox_s, tools))
    sub_agents = [_sub_agent(above, agent, idle_cap_s, counts) for above in threads for agent in above.agents]
    return Trajectory(name, tuple(calls), _labels(flat, labels), tuple(sub_agents))


def _labels(requests: Sequence[Request], labels: dict[str, str]) -> dict[str, str]:
    """A session's labels, its models and tools among them."""
    seen = {"model": {request.model for request in requests}, "tool": {tool for request in requests for tool in request.tools}}
    joined = {name: ",".join(sorted(values - {""})) for name, values in seen.items()}
    return {name: value for name, value in {**joined, **labels}.items() if value}


def _shares(thread: Thread, above: list[HashTree]) -> Iterator[tuple[int, tuple[int, int]]]:
    """By index of a call: leading ids that a call which is over before has, and the index of that call, -1 for none."""
    own = HashTree()
    for number, request in enumerate(thread.requests):
        index = thread.first + number
        if request.ids is None:
            found = (0, index - 1 if number else -1)  # counts only: the one before, as far as lengths say
        else:
            found = own.extend(request.ids, index)
            for tree in reversed(above):
                beyond = tree.find(request.ids)
                found = beyond if beyond[0] > found[0] else found
        yield index, found
        spawned = thread.spawned(number)
        for agent in spawned:
            yield from _shares(agent, [*above, own])
        for agent in spawned:
            for place, theirs in agent.in_recorded_order():
                if theirs.ids is not None:
                    own.join(theirs.ids, place)


def _kept(flat: Sequence[Request], index: int, share: tuple[int, int], follows: bool) -> tuple[int, int | None]:
    """Tokens that a call keeps, and the call it extends."""
    request, (count, base) = flat[index], share
    cached = min(request.cached_tokens or 0, request.prompt_tokens)
    if request.ids is not None and not count and follows and cached:
        return min(cached, flat[index - 1].prompt_tokens), None  # nothing in common is known, but the provider's cache served something
    if base < 0:
        return 0, None
    before = flat[base]
    if request.ids is None:
        whole = before.prompt_tokens <= request.prompt_tokens
        kept = before.prompt_tokens if whole else cached
    elif before.ids is not None and count == len(before.ids) and before.prompt_tokens <= request.prompt_tokens:
        kept = before.prompt_tokens  # a tail under one block has no hash: taken as kept when every full block is
    else:
        kept = min(before.tokens_at(count), request.prompt_tokens)
    return kept, None if follows and base == index - 1 else base


def _sub_agent(above: Thread, agent: Thread, idle_cap_s: float, counts: Counter[str]) -> SubAgent:
    spawning = above.requests[agent.spawned_by]
    counts["sub-agents"] += 1
    if agent.spawned_by + 1 < len(above.requests) and agent.end_s > above.requests[agent.spawned_by + 1].start_s:
        counts["late"] += 1
    delay_s = _capped(max(0.0, agent.requests[0].start_s - spawning.end_s), idle_cap_s, SPAWN_CUT, counts)
    return SubAgent(above.first + agent.spawned_by, agent.first, round(delay_s, 6))


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
