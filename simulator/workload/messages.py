"""Prompts that a log has as messages: what they share, and how many tokens that is. Inputs: messages as logs hold them; no text is kept.

Tokens that were recorded are used as they are; a text without a count has its characters, as JSON, over `Reading.characters_per_token`
(docs/trajectory-format.md has the error of that rule on logs that carry both).
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from simulator.workload.records import Reading

SAID = ("role", "content", "text", "tool_calls", "tool_call_id", "name", "arguments", "reasoning_content", "action", "args", "observation")
"""Keys of a message that a model reads, or that stand for it; times, ids and cache marks are left out."""


def message_text(message: object) -> str:
    """A message as the text that is compared and counted."""
    said = {key: message[key] for key in SAID if key in message} if isinstance(message, Mapping) else message
    return json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)


def estimated_tokens(message: object, reading: Reading) -> int:
    """Tokens of a text or message without a recorded count, at least 1."""
    size = len(message) if isinstance(message, str) else len(message_text(message))
    return max(1, math.ceil(size / reading.characters_per_token))


def token_method(counts: Mapping[str, int], reading: Reading) -> str:
    """How the tokens of a log's requests were found, by what its reader counted."""
    parts = [f"recorded tokens of {counts['recorded']} requests"] if counts["recorded"] else []
    if counts["estimated"]:
        parts.append(f"estimated tokens of {counts['estimated']} requests: characters as JSON over {reading.characters_per_token:g}")
    return ", ".join(parts) or "no requests"


class Prompt:
    """A prompt while it grows, message by message: a number for each (equal messages have equal ones) and characters up to its end."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.characters: list[int] = []

    def add(self, message: object) -> None:
        text = message_text(message)
        self.ids.append(int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=7).digest(), "big"))
        self.characters.append(len(text) + (self.characters[-1] if self.characters else 0))

    def tokens(self, reading: Reading) -> int:
        """Estimated tokens, at least 1."""
        return max(1, math.ceil(self.characters[-1] / reading.characters_per_token)) if self.characters else 1

    def ends(self, prompt_tokens: int) -> list[int]:
        """By message: tokens up to its end, the share of characters in a prompt of so many tokens."""
        whole = max(1, self.characters[-1]) if self.characters else 1
        return [prompt_tokens * characters // whole for characters in self.characters]


def prompt_of(messages: list[Any], tools: Any = None) -> Prompt:
    """A prompt as a list of messages, tool definitions first."""
    prompt = Prompt()
    if tools:
        prompt.add(tools)
    for message in messages:
        prompt.add(message)
    return prompt
