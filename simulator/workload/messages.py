"""Prompts that a log has as messages: what they share, and how many tokens that is. Inputs: messages as logs hold them; no text is kept.

Tokens that were recorded are used as they are; a text without a count is counted by `Reading.token_rule`
(docs/trajectory-format.md has the error of the usual rule on logs that carry both).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from simulator.workload.records import Reading
from simulator.workload.tokens import TokenRule

SAID = ("role", "content", "text", "tool_calls", "tool_call_id", "name", "arguments", "reasoning_content", "action", "args", "observation")
"""Keys of a message that a model reads, or that stand for it; times, ids and cache marks are left out."""


def message_text(message: object) -> str:
    """A message as the text that is compared and counted."""
    said = {key: message[key] for key in SAID if key in message} if isinstance(message, Mapping) else message
    return json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)


def estimated_tokens(message: object, reading: Reading) -> int:
    """Tokens of a text or message without a recorded count, at least 1."""
    rule = reading.token_rule
    return rule.tokens(rule.measure(message if isinstance(message, str) else message_text(message)))


def token_method(counts: Mapping[str, int], reading: Reading) -> str:
    """How the tokens of a log's requests were found, by what its reader counted."""
    parts = [f"recorded tokens of {counts['recorded']} requests"] if counts["recorded"] else []
    if counts["estimated"]:
        parts.append(f"estimated tokens of {counts['estimated']} requests: {reading.token_rule.name}")
    return ", ".join(parts) or "no requests"


class Prompt:
    """A prompt while it grows, message by message: a number for each (equal ones for equal messages) and the size up to its end."""

    def __init__(self, rule: TokenRule) -> None:
        self.rule = rule
        self.ids: list[int] = []
        self.sizes: list[int] = []

    def add(self, message: object) -> None:
        text = message_text(message)
        self.ids.append(int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=7).digest(), "big"))
        self.sizes.append(self.rule.measure(text) + (self.sizes[-1] if self.sizes else 0))

    @property
    def tokens(self) -> int:
        """Estimated tokens, at least 1."""
        return self.rule.tokens(self.sizes[-1] if self.sizes else 0)

    def ends(self, prompt_tokens: int) -> list[int]:
        """By message: tokens up to its end, its share of the size in a prompt of so many tokens."""
        whole = max(1, self.sizes[-1]) if self.sizes else 1
        return [prompt_tokens * size // whole for size in self.sizes]


def prompt_of(messages: list[Any], reading: Reading = Reading(), tools: Any = None) -> Prompt:
    """A prompt as a list of messages, tool definitions first."""
    prompt = Prompt(reading.token_rule)
    if tools:
        prompt.add(tools)
    for message in messages:
        prompt.add(message)
    return prompt
