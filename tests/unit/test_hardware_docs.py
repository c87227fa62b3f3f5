"""The worked example of docs/laws.md prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

LAWS = Path(__file__).resolve().parents[2] / "docs" / "laws.md"


def test_the_worked_example_prints_what_the_page_shows():
    code, shown = re.search(r"```python\n(.*?)```\nprints\n```\n(.*?)```", LAWS.read_text(encoding="utf-8"), re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown
