"""Messages of mistakes."""

from simulator.errors import Mistake


def test_a_long_value_is_cut_and_its_length_told() -> None:
    told = str(Mistake("some.yaml", "agents", "9" * 5_000, "at most 100"))
    assert told == f"some.yaml: agents; found {'9' * 200}... (5,000 characters); allowed: at most 100"
    assert str(Mistake("some.yaml", "k" * 300)) == f"some.yaml: {'k' * 200}... (300 characters)"
    assert str(Mistake("some.yaml", "agents", "9" * 200)) == f"some.yaml: agents; found {'9' * 200}"
