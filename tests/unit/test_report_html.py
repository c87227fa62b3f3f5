"""The page: self-contained, escaped, the same bytes twice, and with all a buyer asks for."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from fake_answers import answer, comparison

from simulator.report.canvas import BLOCKED, STAGES, SYSTEMS, TERMS, VARIABLES
from simulator.report.grounds import Footing, footing, written
from simulator.report.html import Provenance, render, render_run
from simulator.report.template import DARK

PROVENANCE = Provenance("0.1.0", "compare", "agentwatt compare", (1, 2, 3), "trajectories agentperf_like", "One pool <of> workers.")


def profile(**changes: object) -> SimpleNamespace:
    def field(name: str, value: object, quality: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, value=value, unit="W", source=f"source of {name}", quality=quality, note="")

    fields = {
        "tdp_w": field("tdp_w", 1400, "datasheet"),
        "pue": field("pue", 1.1, "assumed"),
        "other_w": field("other_w", 29e3, "estimated"),
    }
    return SimpleNamespace(
        **{"name": "gb300", "title": "GB300 NVL72", "quality": "assumed", "notes": ("A note.",), "fields": fields} | changes
    )


def footings() -> list[Footing]:
    return [footing("System", profile())]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page() -> str:
    return render(comparison(), footings(), PROVENANCE)


class Tags(HTMLParser):
    """Start tags with their attributes, and whether all that must close does."""

    VOID = ("meta", "link", "img", "br", "use", "path")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_same_bytes_twice(page: str) -> None:
    assert render(comparison(), footings(), PROVENANCE) == page


def test_nothing_comes_from_outside(page: str) -> None:
    tags = Tags(page)
    assert not tags.open
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags.tags}
    for _, attributes in tags.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "url(http" not in page
    assert "@import" not in page


def test_ids_are_unique(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Tags(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_headline_names_system_count_slo_and_basis(page: str) -> None:
    headline = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert headline is not None
    for part in ("GB300 NVL72", "52,083", "20 tok/s &amp; 10 s", "accelerator power"):
        assert part in headline[1]


def test_page_tells_limits_grounds_method_and_provenance(page: str) -> None:
    for part in (
        "prefill takes 29 % of the step time", "the ranking turns", "Simulated, not measured", "source of pue", "source of other_w",
        "P25 output speed of at least 20 tok/s", "nameplate", "0.1.0", "agentwatt compare", "seeds 1, 2, 3", "A note.",
    ):  # fmt: skip
        assert part in page
    assert "source of tdp_w" not in page


def test_curve_that_is_not_monotone_is_told() -> None:
    crooked = replace(comparison(), answers=(replace(answer(), monotone=False),), ratios=(), sprints=())
    assert "not monotone" in render(crooked, [], PROVENANCE)


def test_notes_of_the_scenario_stand_under_the_headline(page: str) -> None:
    assert page.index("<h1>") < page.index("One pool &lt;of&gt; workers.") < page.index("</header>")


def test_titles_replace_names() -> None:
    text = render(comparison(), [], PROVENANCE, {"HGX H200": "NVIDIA HGX H200 (8 GPUs)"})
    assert "NVIDIA HGX H200 (8 GPUs)" in text


def test_hostile_text_is_escaped_everywhere() -> None:
    evil = "<script>alert('x')</script>\"'&{{7*7}}"
    one = answer()
    point = replace(one.held, system=evil, notes=(evil,))  # type: ignore[type-var]
    hostile = replace(one, system=evil, quality=evil, sentence=evil, interval_kind=evil, limiter=evil, held=point, broken=point)
    field = SimpleNamespace(name=evil, value=evil, unit=evil, source=evil, quality="assumed", note=evil)
    ground = footing("System", profile(name=evil, title=evil, notes=(evil,), fields={"x": field}))  # type: ignore[arg-type]
    page = render(replace(comparison(), answers=(hostile,)), [ground], Provenance(evil, evil, evil, (1,), evil, evil))
    assert "<script" not in page
    assert "49" not in re.findall(r"\{\{.*?\}\}|x&#39;\)&lt;/script&gt;&#34;&#39;&amp;(\d+)", page)
    Tags(page)


def test_run_page() -> None:
    held = answer().held
    assert held is not None
    text = render_run(held, footings(), PROVENANCE)
    assert "GB300 NVL72 serves 1,500 agents" in text
    assert text == render_run(held, footings(), PROVENANCE)
    assert not Tags(text).open


def test_dark_mode_sets_every_colour_of_the_figures() -> None:
    assert set(DARK) == set(VARIABLES.values())
    assert len(VARIABLES) == len(SYSTEMS) + len(TERMS) + len(BLOCKED) + len(STAGES) + 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, "–"),
        (151397597184, "151,397,597,184"),
        (4.8e12, "4.8e+12"),
        (0.85, "0.85"),
        ((1.79, 2.0), "1.79, 2"),
        ("a\nb", "a\ufffdb"),
    ],
)
def test_field_values_are_written_short(value: object, text: str) -> None:
    assert written(value) == text
