"""Token counts as servers report them. Input is a ``usage`` object of an answer.

A count that is missing is None, never 0.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Tokens of the prompt (those found in a cache included), of the answer, and of the prompt's part that a cache held."""

    prompt: int | None = None
    output: int | None = None
    cached: int | None = None

    def over(self, earlier: "Counts") -> "Counts":
        """These, and the earlier ones where these are missing."""
        return Counts(
            earlier.prompt if self.prompt is None else self.prompt,
            earlier.output if self.output is None else self.output,
            earlier.cached if self.cached is None else self.cached,
        )


def read_counts(usage: Any) -> Counts:
    """The counts of a usage object, by the names of the completions or of the responses endpoint; what is no count is missing."""
    if not isinstance(usage, dict):
        return Counts()
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    return Counts(
        count_of(usage.get("prompt_tokens", usage.get("input_tokens"))),
        count_of(usage.get("completion_tokens", usage.get("output_tokens"))),
        count_of(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )


def count_of(value: Any) -> int | None:
    """A number of tokens, or None for what is none."""
    return value if type(value) is int and value >= 0 else None
