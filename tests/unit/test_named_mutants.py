"""The mutants of each law, which `make mutants` runs: whether they still fit the source, and their tests still exist."""

import pytest

from tests.mutants import LAWS
from tests.mutate import ROOT, named

NAMED = [(*change, test) for _, changes, test in LAWS for change in changes]


@pytest.mark.parametrize(("file", "before", "after", "test"), NAMED)
def test_a_named_mutant_has_one_place_and_a_test(file: str, before: str, after: str, test: str) -> None:
    assert named(file, before, after).before == before
    path, _, function = test.partition("::")
    assert f"def {function}" in (ROOT / path).read_text()
