"""The worked examples of the pages print what the pages say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["laws.md", "from-datasheet-to-agents.md", "size.md"])
def test_the_worked_example_prints_what_the_page_shows(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```\nprints\n```\n(.*?)```", text, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown
