"""Who goes on with whom: calls are told apart by what their prompts share, and each finished one becomes a line of the journal.

A call goes on from the finished call with which its prompt shares most; of several that asked the same, from the latest that none goes on
from yet. It is of the same session if what they share goes beyond the first
message of the conversation (beyond system prompt, tools and task), and an answer is in its prompt; or if it names that call's response.
Else it begins a session. Nothing of this is kept but digests of prompts, in memory, by a salt that is drawn anew for each recording.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from simulator.record.answer import Answer
from simulator.record.prompt import Asked
from simulator.workload.journal import CHARACTERS_PER_TOKEN, Recorded


@dataclass(frozen=True, slots=True)
class _Known:
    """A finished call that later ones may go on from."""

    recorded: Recorded
    pieces: int
    characters: int
    opening: int


class Ledger:
    """The calls of a recording, in the order in which they ended.

    Parameters
    ----------
    write : callable
        Takes each finished call; called by one thread at a time.
    """

    def __init__(self, write: Callable[[Recorded], None]) -> None:
        self.write = write
        self.lock = threading.Lock()
        self.sealed = False
        self.known: list[_Known] = []
        self.sessions = 0
        self.places: dict[bytes, tuple[int, int]] = {}  # by digest of a prompt's beginning: the first call that has it, and the last
        self.tips: dict[bytes, list[int]] = {}  # by digest of a whole prompt: the calls that asked it
        self.gone_on: set[int] = set()  # calls that a later one goes on from
        self.roots: dict[bytes, int] = {}  # by digest: the earliest first call of a session that has it
        self.ids: dict[bytes, int] = {}

    def seal(self) -> None:
        """Lets no further call in."""
        with self.lock:
            self.sealed = True

    def close(self, asked: Asked, answer: Answer, start_s: float, end_s: float, broken: bool) -> Recorded | None:
        """Enters a call whose answer is over; None for one that brought nothing: no usage and no text."""
        output, prompt, estimated = answer.counts.output, answer.counts.prompt, list[str]()
        if output is None:
            if not answer.characters:
                return None
            output = math.ceil(answer.characters / CHARACTERS_PER_TOKEN)
            estimated.append("output")
        if prompt is None and asked.tokens is None:
            estimated.append("prompt")
        prompt = prompt or asked.tokens or max(1, math.ceil(asked.characters / CHARACTERS_PER_TOKEN))
        with self.lock:
            if self.sealed:
                return None
            base, pieces = self._base(asked, start_s)
            kept = 0 if base is None else base.recorded.prompt_tokens
            if base is not None and pieces < base.pieces:
                estimated.append("kept")
                kept = kept * asked.ends[pieces - 1] // base.characters
            other, shared = self._shared(asked, prompt) if base is None else (None, 0)
            if other is not None and shared < self.known[other].recorded.prompt_tokens:
                estimated.append("shared")
            session = self.sessions if base is None else base.recorded.session
            self.sessions += base is None
            recorded = Recorded(
                call=len(self.known),
                session=session,
                after=None if base is None else base.recorded.call,
                prompt_tokens=prompt,
                kept_tokens=min(kept, prompt),
                output_tokens=max(1, output),
                start_s=round(start_s, 6),
                end_s=round(max(start_s, end_s), 6),
                after_tool=asked.after_tool,
                cached_tokens=answer.counts.cached,
                estimated=",".join(sorted(estimated)),
                broken=broken,
                shares_with=other,
                shared_tokens=shared,
            )
            self.write(recorded)
            self._enter(recorded, asked, answer)
        return recorded

    def _base(self, asked: Asked, start_s: float) -> tuple[_Known | None, int]:
        """The call that this one goes on from, and how many pieces they share; all of that call's where the server keeps the history."""
        if asked.follows is not None and asked.follows in self.ids:
            followed = self.known[self.ids[asked.follows]]
            return followed, followed.pieces
        if not asked.goes_on:
            return None, 0
        for pieces in range(len(asked.chain), 0, -1):
            digest = asked.chain[pieces - 1]
            waiting = [number for number in self.tips.get(digest, ()) if number not in self.gone_on]
            for number in (*reversed(waiting), *reversed(self.places.get(digest, ()))):
                base = self.known[number]
                if base.recorded.end_s <= start_s:
                    return (base, pieces) if pieces >= base.opening else (None, 0)
        return None, 0

    def _shared(self, asked: Asked, prompt: int) -> tuple[int | None, int]:
        """The earliest first call of a session that shares most of a new one's beginning, and how many tokens that is."""
        for pieces in range(len(asked.chain), 0, -1):
            number = self.roots.get(asked.chain[pieces - 1])
            if number is not None:
                other = self.known[number]
                return number, min(prompt, other.recorded.prompt_tokens * asked.ends[pieces - 1] // other.characters)
        return None, 0

    def _enter(self, recorded: Recorded, asked: Asked, answer: Answer) -> None:
        number = len(self.known)
        self.known.append(_Known(recorded, len(asked.chain), asked.characters, asked.opening))
        if recorded.after is not None:
            self.gone_on.add(recorded.after)
        else:
            for digest in asked.chain:
                self.roots.setdefault(digest, number)
        if asked.chain:
            self.tips.setdefault(asked.chain[-1], []).append(number)
        for digest in asked.chain:
            self.places[digest] = (self.places.get(digest, (number,))[0], number)
        for digest in answer.ids:
            self.ids[digest] = number
