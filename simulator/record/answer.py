"""What is kept of a response: token counts, characters generated, the digest of its id. Inputs are its bytes as they pass.

Streams are read by the rules of server-sent events: lines end with CR, LF or both, wherever the network cut them; an event ends with an
empty line. Compressed bodies are unpacked beside the stream that passes. What cannot be read (another coding, more than `MOST_BYTES` at
once) is left alone: the response passes all the same. Nothing of the content is kept.
"""

import json
import re
import zlib
from typing import Any

from simulator.record.prompt import digest_of

MOST_BYTES = 64 << 20
LINE_END = re.compile(rb"\r\n|\n|\r")
READABLE = ("identity", "gzip", "x-gzip", "deflate")
"""Content codings that can be read."""


class Answer:
    """A response while it passes.

    Attributes
    ----------
    prompt_tokens, output_tokens, cached_tokens : int or None
        As the server counted them; None where it did not.
    characters : int
        Of text, reasoning and tool arguments that were generated.
    ids : set of bytes
        Digests of the ids under which a later request may go on with it.
    readable : bool
    """

    def __init__(self, content_type: str, coding: str, salt: bytes) -> None:
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.characters = 0
        self.ids: set[bytes] = set()
        self.salt = salt
        self.streamed = content_type.split(";")[0].strip().lower() == "text/event-stream"
        coding = coding.strip().lower() or "identity"
        self.readable = coding in READABLE
        self.unpacker = zlib.decompressobj(47) if coding != "identity" and self.readable else None  # 47: gzip or zlib, by the header
        self.held = bytearray()
        self.data: list[bytes] = []

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
        if not self.readable or len(self.held) + len(content) > MOST_BYTES:
            self.readable = False
            self.held.clear()
            return
        self.held += content
        if self.streamed and (b"\n" in content or b"\r" in content):
            self._lines()

    def end(self) -> None:
        """Looks at what is left when all bytes have passed."""
        if self.streamed:
            for line in (*LINE_END.split(bytes(self.held)), b""):
                self._line(line)
        elif self.readable:
            self._object(bytes(self.held))
        self.held.clear()

    def _lines(self) -> None:
        """Takes the whole lines off; a CR at the end may be half of a line's end."""
        half = self.held[-1:] == b"\r"
        *lines, rest = LINE_END.split(bytes(self.held[:-1] if half else self.held))
        for line in lines:
            self._line(line)
        self.held = bytearray(rest + b"\r" if half else rest)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self.data.append(line[5:].removeprefix(b" "))
        elif not line and self.data:
            self._object(b"\n".join(self.data))
            self.data.clear()

    def _object(self, text: bytes) -> None:
        """One JSON object: an event of a stream, or the whole body."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return  # [DONE], or nothing that counts
        if isinstance(found, dict):
            self._usage(found.get("usage"))
            self._choices(found.get("choices"))
            inner = found.get("response")
            self._response(inner if isinstance(inner, dict) else found, whole=not self.streamed)
            if isinstance(found.get("delta"), str):
                self.characters += len(found["delta"])

    def _usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
        output = usage.get("completion_tokens", usage.get("output_tokens"))
        details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        self.prompt_tokens = prompt if _count(prompt) else self.prompt_tokens
        self.output_tokens = output if _count(output) else self.output_tokens
        self.cached_tokens = cached if _count(cached) else self.cached_tokens

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
        self._usage(response.get("usage"))
        output = response.get("output")
        for item in output if whole and isinstance(output, list) else ():
            if isinstance(item, dict):
                content = item.get("content")
                self.characters += _length(item.get("arguments"))
                self.characters += sum(_length(part.get("text")) for part in content or () if isinstance(part, dict))


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


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
