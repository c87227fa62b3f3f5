"""The public names: every one has a docstring, and the examples in them print what they say."""

import doctest
from typing import Any

import pytest

import simulator
from simulator.capacity.scenario import Scenario

EXAMPLES = {name: getattr(simulator, name) for name in simulator.__all__}


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert len((EXAMPLES[name].__doc__ or "").split()) > 5


def found(name: str, value: Any) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={}) if test.examples]


@pytest.mark.parametrize("name", ["simulator", *(name for name in simulator.__all__ if found(name, EXAMPLES[name]))])
def test_examples_print_what_they_say(name: str) -> None:
    tests = found(name, simulator if name == "simulator" else EXAMPLES[name])
    assert tests
    for test in tests:
        said: list[str] = []
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(test, out=said.append)
        assert result.failed == 0, "".join(said)


def test_names_are_those_of_the_places() -> None:
    assert set(simulator.__all__) <= set(dir(simulator))
    assert EXAMPLES["Scenario"] is Scenario
