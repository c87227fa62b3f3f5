"""How texts without recorded counts are counted: by a tokenizer where its file and the extra are at hand, else by characters.

Inputs are a ``tokenizer.json`` as the `tokenizers` package writes it (extra ``tokens``), or nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import Mistake, UserError


@dataclass(frozen=True)
class TokenRule:
    """A named estimator. ``measure`` gives a text's size in some unit, of which ``per_token`` make a token."""

    name: str
    measure: Callable[[str], int] = len
    per_token: float = 3.5

    def tokens(self, size: float) -> int:
        """Tokens of a text of a measured size, at least 1."""
        return max(1, math.ceil(size / self.per_token))


def by_characters(per_token: float = 3.5) -> TokenRule:
    """Characters, as JSON, over a constant (docs/trajectory-format.md has its measured error)."""
    return TokenRule(f"characters as JSON over {per_token:g}", len, per_token)


def by_tokenizer(path: Path) -> TokenRule:
    """The tokens that a tokenizer file gives, special ones left out.

    Raises
    ------
    UserError
        When the extra is not installed, or the file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        missing = Mistake(str(path), "tokenizer", "no package tokenizers", "the extra tokens", "pip install 'agentwatt[tokens]'")
        raise UserError(missing) from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exceptions
        raise UserError(Mistake(str(path), "tokenizer", str(error)[:120], "a tokenizer.json of the tokenizers package")) from error
    return TokenRule(f"tokens of {path.name}", lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), 1.0)
