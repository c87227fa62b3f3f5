"""Numbers in texts."""

import pytest

from simulator.units import told_apart


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (19.2345, 20, "19.2"),
        (19.9961, 20, "19.996"),
        (20.0004, 20, "20.0004"),
        (173.2, 10, "173"),
        (20, 20, "20"),
        (19.96, 19.98, "19.96"),
        (12.36, 12.37, "12.36"),
        (0.99999, 1, "0.99999"),
    ],
)
def test_a_value_is_told_from_the_limit_that_it_misses(value: float, limit: float, text: str) -> None:
    assert told_apart(value, limit) == text
