"""The what-if page without simulation: its form, its pieces, what it refuses, and what it remembers. Answers are made by hand."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
from fake_answers import answer

from simulator.capacity import load_scenario
from simulator.capacity.document import parse_overrides
from simulator.capacity.results import Answer
from simulator.capacity.scenario import Scenario
from simulator.capacity.study import StudyPoint
from simulator.cli.ask import footings_of
from simulator.cli.provenance import provenance_of
from simulator.errors import Mistake, UserError
from simulator.report.canvas import Drawing
from simulator.ui import excerpt as excerpt_module
from simulator.ui import work as work_module
from simulator.ui.app import command_of, make_app
from simulator.ui.excerpt import averaged, excerpt_of, span_s
from simulator.ui.excerpt_figure import phase_of
from simulator.ui.form import CONTROLS, FIRST, read_form
from simulator.ui.work import Work

H200 = {"a": "hgx_h200_v4pro_20tps_sglang"}
HOSTILE = '"><script>alert(1)</script>'


def hand_made(scenario: Scenario) -> Answer:
    """The invented answer of a system, whatever is asked of it."""
    made = answer("HGX H200" if scenario.system == "hgx_h200" else "GB300 NVL72")
    name, points = str(scenario.system), (made.held, made.broken)
    held, broken = (replace(point, system=name) if point else None for point in points)
    return replace(made, system=name, held=held, broken=broken, sentence=f"At 43 agents {HOSTILE} breaks.")


class HandMade(Work):
    """Work that simulates nothing."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(lambda: ThreadPoolExecutor(1))
        self.fails, self.asked = fails, []  # type: ignore[var-annotated]

    async def run(self, key: str, function: Any, *arguments: Any) -> Any:
        self.asked.append(function.__name__)
        if self.fails:
            raise self.fails
        if function.__name__ == "answer_of":
            return hand_made(*arguments)
        if function.__name__ == "seek":
            study, axis, value, scenario = arguments
            a = hand_made(scenario)
            agents = 0 if value > 60 else int(a.agents_held * 20 / value)
            watts = a.held.watts_per_gpu if agents and a.held else None
            return StudyPoint(
                study, axis, value, a.system, a.deployment, a.slo, a.gpus, agents, watts, 0.9, "kv_memory", "speed", "assumed"
            )
        if function.__name__ == "excerpt_drawing":
            return Drawing(arguments[-1], "an excerpt", "<svg></svg>", "a caption", "a,b\n")
        return function(*arguments)


def get(path: str, query: Mapping[str, str] | None = None, work: Work | None = None, **headers: str) -> httpx.Response:
    """One request to the application on its own address."""

    async def ask() -> httpx.Response:
        app = make_app(work or HandMade(), "0", footings_of, provenance_of)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8486") as client:
            return await client.get(path, params=query, headers=headers)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def first() -> httpx.Response:
    """The page as it opens."""
    return get("/")


class Controls(HTMLParser):
    """The controls of a page, the labels, and whatever else takes part in the keyboard's order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))


def test_the_first_page_has_the_form_the_answer_the_frontier_and_the_excerpts(first: httpx.Response) -> None:
    assert first.status_code == 200
    for words in ("1,500", "Agents per MW, facility", "USD per agent-hour, own", "What limits", "agentwatt compare what_if", "nobody"):
        assert words in first.text
    assert first.text.count("<svg") >= 3
    assert first.text.rstrip().endswith("</html>")
    assert "one seed, the edge sought to 3 %" in first.text


def test_every_control_is_native_labelled_and_in_the_order_of_the_page(first: httpx.Response) -> None:
    page = Controls(first.text).found
    controls = page["select"] + page["input"]
    assert {control["name"] for control in controls} == set(FIRST)
    assert {label["for"] for label in page["label"]} == {control["id"] for control in controls}
    assert all(control["id"] == control["name"] for control in controls)
    everything = [attrs for tag in page.values() for attrs in tag]
    assert {attrs.get("tabindex") for attrs in everything} <= {None, "-1", "0"}
    assert [button["type"] for button in page["button"]] == ["submit"]
    assert not any(name.startswith("on") for attrs in everything for name in attrs)
    assert "script" not in page
    (form,) = page["form"]
    assert form["method"] == "get"


def test_nothing_is_loaded_from_elsewhere(first: httpx.Response) -> None:
    page = Controls(first.text).found
    links = [attrs.get("href") or attrs.get("src") or "" for tag in page.values() for attrs in tag if "href" in attrs or "src" in attrs]
    assert all(link.startswith(("/", "#", "data:")) for link in links)
    assert "default-src 'none'" in first.headers["content-security-policy"]
    assert "script-src" not in first.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8486", "", "[::1]:8486", "localhost@evil.example"])
def test_another_name_for_this_machine_is_refused(host: str) -> None:
    found = get("/", Host=host)
    assert found.status_code == 403
    assert "<form" not in found.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost:8486", "LOCALHOST"])
def test_its_own_names_are_answered(host: str) -> None:
    assert get("/", {"speed": "x"}, Host=host).status_code == 400


def test_another_site_is_refused() -> None:
    assert get("/", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"speed": "abc"}, "speed", "found 'abc'; allowed: a number > 0 tok/s"),
        ({"speed": "20 s"}, "speed", "write speed_tok_s: 20"),
        ({"speed": ""}, "speed", "found nothing"),
        ({"speed": "9" * 400}, "speed", "400 characters"),
        ({"ttft": "-1"}, "ttft", "a number > 0 s"),
        ({"ttft": "9999"}, "ttft", "on this page from 0.05 to 600"),
        ({"cap": "50"}, "cap", "230 W, gb300_nvl72's idle draw"),
        ({"cap": "[1, 2]"}, "cap", "found [1, 2]"),
        ({"kwh": ".nan"}, "kwh", "0 to 10 USD/kWh"),
        ({"price_a": "1}, x: {"}, "price_a", "empty: the profile's"),
        ({"price_a": "-3"}, "price_a", "0 to 1000 USD/GPU-hour"),
        ({"a": "hgx_h200_v4pro_20tp"}, "a", "did you mean"),
        ({"b": "../../etc/passwd"}, "b", "a name of the list"),
        ({"load": HOSTILE}, "load", "a name of the list"),
        ({"a": H200["a"], "b": H200["a"]}, "b", "the first deployment again"),
        ({"speeed": "1"}, "", "did you mean 'speed'?"),
        ({HOSTILE: "1"}, "", "an unknown field"),
        ({"tool_scale": "!!python/object/apply:os.system [x]"}, "tool_scale", "a number from 0 to 1,000"),
    ],
)
def test_mistakes_stand_beside_their_field(query: dict[str, str], field: str, words: str) -> None:
    filled = read_form({"b": "", **query})
    assert list(filled.mistakes) == [field]
    assert words in " ".join(filled.mistakes[field])
    found = get("/", query)
    assert found.status_code == 400
    assert "Nothing was simulated" in found.text
    assert "<script" not in found.text
    if field:
        control = next(c for tag in ("input", "select") for c in Controls(found.text).found[tag] if c["name"] == field)
        assert control["aria-invalid"] == "true"
        ids = {attrs.get("id") for attrs in Controls(found.text).found["span"]}
        assert set((control["aria-describedby"] or "").split()) <= ids


def test_several_mistakes_are_told_at_once() -> None:
    assert set(read_form({"speed": "x", "ttft": "y", "kwh": "z", "price_a": "w"}).mistakes) >= {"price_a"}
    assert set(read_form({"speed": "x", "ttft": "9999", "kwh": "z"}).mistakes) == {"speed", "ttft", "kwh"}


def test_hostile_words_of_an_answer_are_escaped(first: httpx.Response) -> None:
    assert "<script" not in first.text
    assert "alert(1)" in first.text


def test_the_command_line_asks_the_same_scenario() -> None:
    query = {
        **H200,
        "b": "mi355x_v4pro_20tps",
        "speed": "30",
        "ttft": "5",
        "cap": "600",
        "tool_scale": "0.5",
        "price_a": "3.5",
        "kwh": "0.2",
    }
    question = read_form(query).question
    assert question is not None
    again = load_scenario("what_if", parse_overrides(question.changes))
    assert again == question.asked
    cells = again.cell_scenarios()
    assert [replace(cell, system=slot.choice.system, size=None) for cell, slot in zip(cells, question.slots, strict=True)] == [
        slot.scenario for slot in question.slots
    ]
    assert question.slots[0].system.own_usd_per_gpu_hour == 3.5
    assert question.slots[0].site.tariff["electricity_usd_per_kwh"].value == 0.2
    assert command_of(question).startswith("agentwatt compare what_if --set 'cells=[{system: {extends: hgx_h200")


def test_what_stands_first_is_what_the_scenario_says() -> None:
    shipped, question = load_scenario("what_if"), read_form({}).question
    assert question is not None
    assert [slot.scenario for slot in question.slots] == [replace(cell, size=None) for cell in shipped.cell_scenarios()]
    explicit = load_scenario("what_if", {c.path: float(c.first) for c in CONTROLS if c.first})
    assert [replace(cell, size=None) for cell in explicit.cell_scenarios()] == [slot.scenario for slot in question.slots]


def test_the_report_is_a_download() -> None:
    found = get("/report", {**H200, "price_a": "3.25"})
    assert "attachment" in found.headers["content-disposition"]
    assert "agentwatt compare what_if" in found.text
    assert "3.25" in found.text
    assert get("/report", {"speed": "x"}).status_code == 400


def test_a_search_that_fails_says_why_in_its_place() -> None:
    refused = get("/", H200, HandMade(UserError(Mistake("x.yaml", "phase", "no call finished", hint=HOSTILE))))
    assert "no call finished" in refused.text
    assert "<script" not in refused.text
    assert refused.text.rstrip().endswith("</html>")


def test_a_fault_is_told_and_the_page_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    broken = get("/", H200, HandMade(RuntimeError(HOSTILE)))
    assert "RuntimeError" in broken.text
    assert "<script" not in broken.text
    assert broken.text.rstrip().endswith("</html>")
    assert "RuntimeError" in capsys.readouterr().err


def test_answers_are_remembered_by_what_they_follow_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "answer_of", hand_made)
    work = Work(lambda: ThreadPoolExecutor(1))

    async def ask(**query: str) -> Answer:
        question = read_form({**H200, **query}).question
        assert question is not None
        return await work.answer(question.slots[0].scenario)

    async def all_of() -> list[int]:
        counts = []
        for query in ({}, {"price_a": "9"}, {"kwh": "0.3"}, {"speed": "30"}, {"speed": "30.0"}, {"cap": "600"}, {}):
            await ask(**query)
            counts.append(work.computed)
        monkeypatch.setattr(work_module, "REMEMBERED", 1)
        await ask(speed="31")
        await ask()
        return [*counts, work.computed]

    assert asyncio.run(all_of()) == [1, 1, 1, 2, 2, 3, 3, 5]
    work.close()


def test_an_excerpt_of_few_events_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    question = read_form(H200).question
    assert question is not None
    few = excerpt_of(question.slots[0].scenario, 4)
    monkeypatch.setattr(excerpt_module, "_of_interest", lambda world, events: events)
    every = excerpt_of(question.slots[0].scenario, 4)
    assert len(few.lanes) == 4
    phases = [[[(phase_of(name), *span) for name, *span in lane] for lane in found.lanes] for found in (few, every)]
    assert phases[0] == phases[1]
    for name in ("batch", "kv_percent", "watts_per_gpu"):
        assert getattr(few, name).max() > 0
        assert getattr(few, name).tolist() == getattr(every, name).tolist()


def test_a_slice_ends_where_the_next_begins() -> None:
    bounds_us = np.cumsum(np.random.default_rng(1).integers(1, 10**5, 1000)).tolist()
    slices = [{"ts": a, "dur": b - a} for a, b in pairwise(bounds_us)]
    assert all(span_s(a)[1] == span_s(b)[0] for a, b in pairwise(slices))


def test_a_level_is_averaged_over_time() -> None:
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    means = averaged([(0.0, 0.0), (0.5, 4.0), (1.0, 0.0), (1.0, 2.0), (2.5, 10.0)], edges)
    assert means.tolist() == pytest.approx([2.0, 2.0, 6.0])


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("queue (KV)", "queue"),
        ("queue (preempted)", "queue"),
        ("prefill", "prefill"),
        ("load KV from host", "move KV"),
        ("wait for a decode seat and move KV", "move KV"),
    ],
)
def test_phases_of_the_timeline_fall_into_those_of_the_figure(name: str, phase: str) -> None:
    assert phase_of(name) == phase
