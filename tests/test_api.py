"""The public names: every one has a docstring, and the examples in them print what they say."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.capacity.scenario import Scenario

EXAMPLES = {name: getattr(simulator, name) for name in simulator.__all__}


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_public_name_says_what_it_is_and_shows_it(name: str) -> None:
    assert len((EXAMPLES[name].__doc__ or "").split()) > 5
    assert found(name, EXAMPLES[name])


def found(name: str, value: Any) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={}) if test.examples]


@pytest.mark.parametrize("name", ["simulator", *simulator.__all__])
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


def test_the_what_if_of_the_readme_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(from simulator import .*?)```\n\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    code, printed = found.groups()
    assert len(code.strip().splitlines()) <= 6
    exec(compile(code, "README.md", "exec"), {})
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [line.split() for line in printed.splitlines()]
