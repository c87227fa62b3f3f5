"""What goes wrong by a user's hand: one exception, holding every mistake found, each with its place and its remedy."""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 200
"""Characters of a value, or of a field's name, that a message repeats."""


@dataclass(frozen=True)
class Mistake:
    """One thing to mend: where it stands, what was found, what is allowed, and what to do.

    Empty parts are left out of the message; ``line`` is 1-based, 0 when there is none.
    """

    file: str
    field: str
    value: str = ""
    allowed: str = ""
    hint: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [f"{place}: {_cut(self.field)}" if self.field else place]
        if self.value:
            parts.append(f"found {_cut(self.value)}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.hint:
            parts.append(self.hint)
        return "; ".join(parts)


def _cut(text: str) -> str:
    """A text that fits a screen, with its length where it does not."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


class UserError(Exception):
    """Bad input. ``mistakes`` lists all that were found, in file order; the message prints one a line.

    Examples
    --------
    >>> from simulator import UserError, load_scenario
    >>> try:
    ...     load_scenario("capacity_h200", {"slo.speed_tok_s": -1, "seed": 3})
    ... except UserError as error:
    ...     [(mistake.field, mistake.value) for mistake in error.mistakes]
    [('seed', 'an unknown key'), ('slo.speed_tok_s', '-1')]
    """

    def __init__(self, mistakes: Mistake | Sequence[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = (mistakes,) if isinstance(mistakes, Mistake) else tuple(mistakes)
        super().__init__("\n".join(str(m) for m in self.mistakes))

    def __reduce__(self) -> tuple[type["UserError"], tuple[tuple[Mistake, ...]]]:
        """Its mistakes, where another process found them; an exception's own way is to be made again from its message."""
        return UserError, (self.mistakes,)
