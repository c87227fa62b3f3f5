"""What every page of the reports keeps, whatever its names: `look` asserts it and returns the numbers behind the figures."""

import csv
import io
import re
from base64 import b64decode
from html.parser import HTMLParser

from simulator.report.provenance import Provenance

HOSTILE = "=cmd|'/C x'!A0\"</title></style></svg><script>alert(1)</script>&{{7*7}}$x^2$\n\x1b[31m" + "w" * 200
"""A name with all that a page, a spreadsheet, a figure or a terminal might take for its own."""

MADE = Provenance("0", HOSTILE, HOSTILE, (1,), HOSTILE, HOSTILE, HOSTILE, (("numpy", "2"), ("numba", "0.61"), (HOSTILE, HOSTILE)))
"""What made a page, by that name throughout."""

VOID = ("meta", "link", "img", "br", "use", "path")
FORMULA = re.compile(r"\s*[=+@-]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$")


class Tree(HTMLParser):
    """Start tags with their attributes, and the text of the headings; that what is opened is closed is asserted on the way."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def look(page: str) -> dict[str, list[list[str]]]:
    """Asserts what a page keeps; the numbers behind each figure, as rows of cells under the figure's name."""
    tree = Tree(page)
    _stands_alone(page, tree)
    _reads_aloud(page, tree)
    _says_what_made_it(page)
    assert "@media print" in page
    numbers = {str(link["download"]).removesuffix(".csv"): cells_of(str(link["href"])) for link in tree.all("a") if "download" in link}
    assert len(numbers) == len(tree.all("figure")), "every figure brings its numbers"
    for name, rows in numbers.items():
        assert len(rows) > 1, name
        assert len({len(row) for row in rows}) == 1, name
        assert_no_formula(rows)
    return numbers


def cells_of(link: str) -> list[list[str]]:
    """The cells behind a link that saves a CSV."""
    return list(csv.reader(io.StringIO(b64decode(link.removeprefix("data:text/csv;charset=utf-8;base64,")).decode())))


def assert_no_formula(rows: list[list[str]]) -> None:
    """No cell is what a spreadsheet would run."""
    assert [cell for row in rows for cell in row if FORMULA.match(cell) and not NUMBER.match(cell)] == []


def _stands_alone(page: str, tree: Tree) -> None:
    """Nothing runs, nothing is loaded, and no name became markup."""
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in tree.tags}
    assert not [name for _, attributes in tree.tags for name in attributes if name.startswith("on")]
    links = [attributes.get(name) or "" for _, attributes in tree.tags for name in ("src", "href", "xlink:href") if name in attributes]
    assert all(link.startswith(("#", "data:text/csv")) for link in links)
    assert "url(http" not in page
    assert "@import" not in page
    (policy,) = (meta["content"] for meta in tree.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "\x1b" not in page


def _reads_aloud(page: str, tree: Tree) -> None:
    """A language, a title, headings in order, pictures and tables that say what they are, ids once each."""
    assert tree.all("html") == [{"lang": "en"}]
    assert re.search(r"<title>agentwatt: \S", page)
    assert tree.headings[0] == 1
    assert tree.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(tree.headings, tree.headings[1:], strict=False)), tree.headings
    pictures = [svg for svg in tree.all("svg") if "role" in svg]
    assert len(pictures) == len(tree.all("figure"))
    assert all(svg["role"] == "img" and len((svg["aria-label"] or "").split()) > 2 for svg in pictures)
    assert all(head.get("scope") in ("col", "row") for head in tree.all("th"))
    ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def _says_what_made_it(page: str) -> None:
    foot = page[page.rindex("<footer>") :]
    for words in ("Provenance", "agentwatt ", "numpy ", "numba ", "digest <code>", "To make this page again: <code>"):
        assert words in foot, words
