"""What a streamed answer says: when its tokens came, how many, and what the server's clocks made of it. Input is an exchange that ended.

A chunk counts when it carries tokens: the first one of a chat names a role only, the last one usage only. How many tokens a chunk carries
is known where the server repeats its count in each chunk. Tokens less than `BURST_S` apart came in one burst, which no engine decodes:
something between engine and client has held them up.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.probe.connection import Exchange
from simulator.wire.counts import Counts, read_counts
from simulator.wire.events import Events

BURST_S = 0.0002
MOST_FIRST = 0.05
"""Share of an answer's tokens, beyond one, that may come with its first burst before the client's clocks are not believed."""

NO_COUNTS = Counts()


@dataclass(frozen=True)
class Answer:
    """A streamed answer as it was read.

    Attributes
    ----------
    times : tuple of (float, int or None)
        When each chunk with tokens came, and how many it carried, where that is known.
    counts : Counts
        As the server counted.
    finish : str or None
        Why it ended, in the server's word.
    prefill_s, decode_s : float or None
        By the server's clocks.
    running_usage : bool
        Whether the count came with each chunk.
    error : str or None
        An error that came after the head, or what is not a stream of events.
    """

    times: tuple[tuple[float, int | None], ...] = ()
    counts: Counts = NO_COUNTS
    finish: str | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    running_usage: bool = False
    error: str | None = None

    @property
    def coalesced(self) -> bool:
        """Whether the tokens' times of arrival say nothing of the speed of decoding."""
        tokens = self.counts.output or len(self.times)
        if tokens < 2 or not self.times:
            return False
        bursts = _bursts(self.times)
        return len(bursts) < 2 or 2 * len(bursts) < len(self.times) or bursts[0] - 1 > MOST_FIRST * tokens


def read_answer(exchange: Exchange) -> Answer:
    """Reads the events of an answer."""
    times: list[tuple[float, int | None]] = []
    silent: list[tuple[float, int | None]] = []
    timings: dict[str, Any] = {}
    counts, finish, running, seen, bad = NO_COUNTS, None, False, 0, 0
    for at_s, data in _events(exchange):
        value = _object(data)
        if value is None:
            bad += data.strip() != b"[DONE]"
            continue
        if value.get("error"):
            return Answer(tuple(times), counts, error=f"an error in the stream: {_words(value['error'])}")
        usage = read_counts(value.get("usage"))
        counts = usage.over(counts)
        choice = _choice(value)
        finish = choice.get("finish_reason") or finish
        timings = value["timings"] if isinstance(value.get("timings"), dict) else timings
        if choice and usage.output is not None and (running or not choice.get("finish_reason")):
            running = True
            if usage.output > seen:
                times.append((at_s, usage.output - seen))
                seen = usage.output
        elif _carries(choice):
            times.append((at_s, None))
        elif choice.get("text") == "":
            silent.append((at_s, None))
    if bad and not times:
        return Answer(error="the answer is no stream of events")
    if not times and counts.output:
        times = silent  # tokens that have no text, such as half a character
    return Answer(
        tuple(times),
        counts.over(_timed_counts(timings)),
        finish if isinstance(finish, str) else None,
        _seconds(timings.get("prompt_ms")),
        _seconds(timings.get("predicted_ms")),
        running,
        f"{bad} of the stream's events are no JSON" if bad else None,
    )


def _events(exchange: Exchange) -> Iterator[tuple[float, bytes]]:
    events = Events()
    for at_s, piece in exchange.body:
        for data in events.feed(piece):
            yield at_s, data
    for data in events.end():
        yield exchange.end_s, data


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _choice(value: dict[str, Any]) -> dict[str, Any]:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _carries(choice: dict[str, Any]) -> bool:
    """Whether a chunk carries tokens: text, reasoning or the call of a tool."""
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    said = (choice.get("text"), delta.get("content"), delta.get("reasoning_content"), delta.get("reasoning"), delta.get("tool_calls"))
    return any(said)


def _bursts(times: tuple[tuple[float, int | None], ...]) -> list[int]:
    """Tokens, or chunks where their tokens are not known, of each burst."""
    found: list[int] = []
    before_s = float("-inf")
    for at_s, tokens in times:
        if at_s - before_s > BURST_S:
            found.append(0)
        found[-1] += tokens or 1
        before_s = at_s
    return found


def _timed_counts(timings: dict[str, Any]) -> Counts:
    """llama.cpp's own counts: ``prompt_n`` are the tokens it computed, ``cache_n`` those it had."""
    computed, cached, output = (timings.get(name) for name in ("prompt_n", "cache_n", "predicted_n"))
    full = computed + cached if isinstance(computed, int) and isinstance(cached, int) else None
    return Counts(full, output if isinstance(output, int) else None, cached if isinstance(cached, int) else None)


def _seconds(value: Any) -> float | None:
    return value / 1e3 if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _words(error: Any) -> str:
    message = error.get("message", error) if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(message)
