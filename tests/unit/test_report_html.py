"""The page: self-contained, escaped, the same bytes twice, and with all a buyer asks for."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_answers import answer, comparison

from simulator.report.canvas import BLOCKED, STAGES, SURFACE, SYSTEMS, TERMS, VARIABLES, contrast, text_on
from simulator.report.grounds import Footing, footing, written
from simulator.report.html import render, render_run
from simulator.report.provenance import Provenance
from simulator.report.template import DARK
from tests.unit.page_checks import HOSTILE, MADE, look

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


def test_same_bytes_twice(page: str) -> None:
    assert render(comparison(), footings(), PROVENANCE) == page


def test_the_page_keeps_what_every_page_keeps(page: str) -> None:
    numbers = look(render(comparison(), footings(), MADE))
    assert set(numbers) == {"per_megawatt", "curves", "distributions", "limits", "time0", "time1"}
    assert numbers["per_megawatt"][1][:5] == ["GB300 NVL72", "gb300_nvl72_v4pro", "20 tok/s & 10 s", "accelerator", "52083.333333333336"]
    shares = {row[-2]: float(row[-1]) for row in numbers["limits"] if row[:2] == ["HGX H200", "60 tok/s & 5 s"]}
    assert shares["prefill_compute"] == 0.29
    halves = [row for row in numbers["distributions"] if row[-2] == "50.0"]
    assert len(halves) == 8, "two quantities of four answers"


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
    one = answer()
    point = replace(one.held, system=HOSTILE, deployment=HOSTILE, notes=(HOSTILE,), why=HOSTILE)  # type: ignore[type-var]
    words = {"system": HOSTILE, "deployment": HOSTILE, "quality": HOSTILE, "sentence": HOSTILE, "interval_kind": HOSTILE}
    hostile = replace(one, **words, limiter=HOSTILE, held=point, broken=point)
    field = SimpleNamespace(name=HOSTILE, value=HOSTILE, unit=HOSTILE, source=HOSTILE, quality="assumed", note=HOSTILE)
    ground = footing("System", profile(name=HOSTILE, title=HOSTILE, notes=(HOSTILE,), fields={"x": field}))  # type: ignore[arg-type]
    for page in (render(replace(comparison(), answers=(hostile,)), [ground], MADE), render_run(point, [ground], MADE)):
        numbers = look(page)
        assert any(cell.startswith("'=cmd|") for rows in numbers.values() for row in rows for cell in row)
        assert "&lt;script&gt;" in page
        assert "&amp;{{7*7}}" in page


def test_run_page() -> None:
    held = answer().held
    assert held is not None
    text = render_run(held, footings(), PROVENANCE)
    assert "GB300 NVL72 serves 1,500 agents" in text
    assert text == render_run(held, footings(), PROVENANCE)
    assert set(look(render_run(replace(held, power_w=dict.fromkeys(held.power_w, [9e3] * 60)), footings(), MADE))) == {"limits", "time"}


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


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(mode: str) -> None:
    """Contrast as WCAG 2 counts it: 4.5 for text, 3 for lines and swatches of systems."""
    shown = {name: colour if mode == "light" else DARK[name] for colour, name in VARIABLES.items()}
    for page in ("#ffffff", "#f5f7f9") if mode == "light" else ("#14181e", "#1b2129"):
        assert min(contrast(shown[name], page) for name in ("ink", "muted", "bad")) >= 4.5
        assert min(contrast(shown[f"s{n}"], page) for n in range(1, len(SYSTEMS) + 1)) >= 3.0
    labelled = [(colour, name) for colour, name in VARIABLES.items() if name[:2] in ("t-", "b-", "c-")]
    areas = {colour: shown[name] for colour, name in labelled if name not in ("t-idle", "b-token-budget")}
    texts = {colour: shown["surface"] if text_on(colour) == SURFACE else text_on(colour) for colour in areas}
    assert min(contrast(texts[colour], area) for colour, area in areas.items()) >= 4.5
