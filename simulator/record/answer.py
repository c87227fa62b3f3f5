"""What is kept of a response: token counts, characters generated, the digest of its id. Inputs are its bytes as they pass.

Compressed bodies are unpacked beside the stream that passes. What cannot be read (another coding, more than `MOST_BYTES` at once) is left
alone: the response passes all the same. Nothing of the content is kept.
"""

import json
import zlib
from typing import Any

from simulator.record.prompt import digest_of
from simulator.wire.counts import Counts, read_counts
from simulator.wire.events import Events

MOST_BYTES = 64 << 20
READABLE = ("identity", "gzip", "x-gzip", "deflate")
"""Content codings that can be read."""


class Answer:
    """A response while it passes.

    Attributes
    ----------
    counts : Counts
        As the server counted them.
    characters : int
        Of text, reasoning and tool arguments that were generated.
    ids : set of bytes
        Digests of the ids under which a later request may go on with it.
    readable : bool
    """

    def __init__(self, content_type: str, coding: str, salt: bytes) -> None:
        self.counts = Counts()
        self.characters = 0
        self.ids: set[bytes] = set()
        self.salt = salt
        self.streamed = content_type.split(";")[0].strip().lower() == "text/event-stream"
        coding = coding.strip().lower() or "identity"
        self.readable = coding in READABLE
        self.unpacker = zlib.decompressobj(47) if coding != "identity" and self.readable else None  # 47: gzip or zlib, by the header
        self.held = bytearray()
        self.events = Events()

    def feed(self, content: bytes) -> None:
        """Looks at the next bytes."""
        if not self.readable:
            return
        try:
            if self.unpacker is not None:
                content = self.unpacker.decompress(content, MOST_BYTES)
                self.readable = not self.unpacker.unconsumed_tail
        except zlib.error:
            self.readable = False
        if not self.readable or len(self.held) + len(self.events.held) + len(content) > MOST_BYTES:
            self.readable = False
            self.held.clear()
            self.events.held.clear()
            return
        if not self.streamed:
            self.held += content
            return
        for data in self.events.feed(content):
            self._object(data)

    def end(self) -> None:
        """Looks at what is left when all bytes have passed."""
        if self.streamed:
            for data in self.events.end():
                self._object(data)
        elif self.readable:
            self._object(bytes(self.held))
        self.held.clear()

    def _object(self, text: bytes) -> None:
        """One JSON object: an event of a stream, or the whole body."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return  # [DONE], or nothing that counts
        if isinstance(found, dict):
            self.counts = read_counts(found.get("usage")).over(self.counts)
            self._choices(found.get("choices"))
            inner = found.get("response")
            self._response(inner if isinstance(inner, dict) else found, whole=not self.streamed)
            if isinstance(found.get("delta"), str):
                self.characters += len(found["delta"])

    def _choices(self, choices: Any) -> None:
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.characters += _length(choice.get("text"))
                for part in (choice.get("delta"), choice.get("message")):
                    self.characters += _generated(part)

    def _response(self, response: dict[str, Any], whole: bool) -> None:
        """An object of the responses endpoint: its id, that of its conversation, its usage, and its text when it was not streamed."""
        for found in (response.get("id"), response.get("conversation")):
            text = found.get("id") if isinstance(found, dict) else found
            if isinstance(text, str):
                self.ids.add(digest_of(text, self.salt))
        self.counts = read_counts(response.get("usage")).over(self.counts)
        output = response.get("output")
        for item in output if whole and isinstance(output, list) else ():
            if isinstance(item, dict):
                content = item.get("content")
                self.characters += _length(item.get("arguments"))
                self.characters += sum(_length(part.get("text")) for part in content or () if isinstance(part, dict))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _generated(part: Any) -> int:
    """Characters of a message or of a step of one."""
    if not isinstance(part, dict):
        return 0
    called = part.get("tool_calls")
    functions = [call.get("function") for call in called if isinstance(call, dict)] if isinstance(called, list) else []
    arguments = sum(_length(function.get(name)) for function in functions if isinstance(function, dict) for name in ("name", "arguments"))
    reasoning = part.get("reasoning_content", part.get("reasoning"))
    return _length(part.get("content")) + _length(reasoning) + _length(part.get("refusal")) + arguments
