"""Exact conversions between the engine's integers (ps, mW, µJ) and the units people read, limits of both, and numbers in texts."""

PS_PER_S = 10**12
PS_PER_NS = 1_000
PS_PER_US = 10**6
NS_PER_US = 1_000
NS_PER_S = 10**9
UJ_PER_J = 10**6
W_PER_MW = 10**6
GIB = 2**30
MOST_S = 8_640_000
"""Longest time that anybody may ask for: 100 days. The engine's clock ends at 106."""
MOST_TOKENS = 10**9
"""Longest prompt or answer."""
MOST_AGENTS = MOST_TRAJECTORIES = 10**6
MOST_COUNT = 10**9
"""Largest whole number of anything else, where nothing smaller is said."""


def to_ps(seconds: float) -> int:
    """Seconds as whole picoseconds, rounded to nearest."""
    return round(seconds * PS_PER_S)


def to_s(picoseconds: float) -> float:
    """Picoseconds as seconds."""
    return picoseconds / PS_PER_S


def whole_number(text: str, most_digits: int = 18) -> int | None:
    """What a text of digits says; None for any other text, one of more digits, and one of digits that are not ASCII's.

    ``isdigit`` alone lets through what ``int`` refuses: a superscript, and more than 4,300 digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most_digits else None


def told_apart(value: float, limit: float) -> str:
    """A value in three digits, or in as many more as put it on its own side of a limit that it misses by little.

    >>> told_apart(19.2345, 20), told_apart(19.9961, 20), told_apart(19.96, 19.98)
    ('19.2', '19.996', '19.96')
    """
    texts = (f"{value:.{digits}g}" for digits in range(3, 17))
    return next((text for text in texts if (float(text) < limit, float(text) > limit) == (value < limit, value > limit)), f"{value:g}")
