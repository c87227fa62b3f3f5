"""The page as an application: `/` is the form and its answer, sent as it is found; `/report` the answer's report. Inputs: query strings."""

import asyncio
import shlex
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from simulator.capacity.comparison import ratios
from simulator.capacity.cost import Cost, cost_of
from simulator.capacity.results import Answer, Comparison
from simulator.capacity.scenario import Scenario
from simulator.capacity.slo import SLO, SPEED, TTFT
from simulator.capacity.study import StudyPoint
from simulator.errors import UserError
from simulator.report.grounds import Footing
from simulator.report.html import render
from simulator.report.phrases import plain
from simulator.report.provenance import Provenance
from simulator.report.study_figures import frontier
from simulator.ui.excerpt_figure import excerpt_drawing
from simulator.ui.form import SCENARIO, Filled, Question, Slot, read_form
from simulator.ui.guard import Guard
from simulator.ui.view import Page
from simulator.ui.work import SPEEDS_TOK_S, Work

FootingsOf = Callable[[list[Scenario]], tuple[list[Footing], dict[str, str]]]
ProvenanceOf = Callable[[Scenario, str], Provenance]
PATIENCE_S = 5.0
"""A page that is still searching says so again after so long."""


@dataclass(frozen=True)
class Site:
    """What the requests share."""

    work: Work
    page: Page
    footings_of: FootingsOf
    provenance_of: ProvenanceOf


def make_app(work: Work, version: str, footings_of: FootingsOf, provenance_of: ProvenanceOf, warm: bool = True) -> Starlette:
    """The application.

    Parameters
    ----------
    work : Work
    version : str
    footings_of, provenance_of : callable
        The profiles beneath scenarios and their titles, and what made a report, as the command line tells both.
    warm : bool
        Whether the kernel and the loads of the first question are compiled before the first request.
    """
    site = Site(work, Page(version), footings_of, provenance_of)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        first = read_form({}).question
        if warm and first:
            await work.warm([slot.scenario for slot in first.slots])
        yield

    async def show(request: Request) -> Response:
        filled = read_form(dict(request.query_params))
        if filled.question is None:
            return HTMLResponse(site.page.head(filled, asking=False) + site.page.tail(), 400)
        return StreamingResponse(_pieces(site, filled, filled.question), media_type="text/html")

    async def report(request: Request) -> Response:
        filled = read_form(dict(request.query_params))
        if filled.question is None:
            return HTMLResponse(site.page.head(filled, asking=False) + site.page.tail(), 400)
        return await _report(site, filled.question)

    routes = [Route("/", show), Route("/report", report)]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Guard)])


def command_of(question: Question, *rest: str) -> str:
    """The command line that gives the same answers."""
    return shlex.join(["agentwatt", "compare", SCENARIO, *(word for change in question.changes for word in ("--set", change)), *rest])


async def _pieces(site: Site, filled: Filled, question: Question) -> AsyncIterator[str]:
    """The page, piece by piece, each as soon as it is found; a piece that fails says why in its place."""
    page = site.page
    yield page.head(filled, asking=True)
    started = time.perf_counter()
    try:
        seeking = asyncio.ensure_future(asyncio.gather(*(site.work.answer(slot.scenario) for slot in question.slots)))
        try:
            while not (await asyncio.wait([seeking], timeout=PATIENCE_S))[0]:
                yield page.patience()
        finally:
            seeking.cancel()
        answers = seeking.result()
        yield page.answers(
            question, answers, costs_of(question, answers), command_of(question), filled.values, time.perf_counter() - started
        )
        yield page.frontier_head(question)
        points: list[StudyPoint] = []
        for floors in frontier_of(question):
            found = await asyncio.gather(*(site.work.point(scenario, speed) for scenario, speed in floors))
            points += _titled_points(question, found)
            yield page.frontier_row(floors[0][1], found)
        drawing = await site.work.run("frontier " + repr(points), frontier, points)
        yield page.frontier_tail(drawing)
        yield page.excerpt_head()
        for place, (slot, answer) in enumerate(zip(question.slots, answers, strict=True)):
            if answer.agents_held:
                arguments = (slot.scenario, answer.agents_held, slot.label, f"excerpt{place}")
                yield page.excerpt(await site.work.run("excerpt " + repr(arguments), excerpt_drawing, *arguments))
    except UserError as error:
        yield page.failure([str(replace(mistake, file="", line=0)).removeprefix(": ") for mistake in error.mistakes])
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        yield page.failure([f"this could not be computed ({plain(type(error).__name__)}: {plain(error)[:200]})"])
    yield page.tail()


def frontier_of(question: Question) -> list[list[tuple[Scenario, float]]]:
    """For each floor the scenarios of all deployments, at the question's ceiling on TTFT."""

    def at(slot: Slot, speed: float) -> Scenario:
        slo = slot.scenario.slo
        assert slo is not None
        clauses = {clause.quantity: clause for clause in slo.clauses}
        return replace(
            slot.scenario, slo=SLO.speed_and_ttft(speed, clauses[TTFT].limit, clauses[SPEED].percentile, clauses[TTFT].percentile)
        )

    return [[(at(slot, speed), speed) for slot in question.slots] for speed in SPEEDS_TOK_S]


def _titled_points(question: Question, points: Sequence[StudyPoint]) -> list[StudyPoint]:
    """Points under the titles that the page shows."""
    return [replace(point, system=slot.label) for slot, point in zip(question.slots, points, strict=True)]


def costs_of(question: Question, answers: Sequence[Answer]) -> list[Cost | None]:
    """The cost of each answer that holds somebody, at the prices given."""
    pairs = zip(question.slots, answers, strict=True)
    return [cost_of(answer, slot.system, slot.site) if answer.agents_held else None for slot, answer in pairs]


async def _report(site: Site, question: Question) -> Response:
    answers = await asyncio.gather(*(site.work.answer(slot.scenario) for slot in question.slots))
    costs = tuple(cost for cost in costs_of(question, answers) if cost)
    found = Comparison(tuple(answers), (), ratios(answers, ()), costs=costs)
    cells = list(question.asked.cell_scenarios())
    made = site.provenance_of(question.asked, command_of(question, "--study", "cost"))
    text = await site.work.run("", report_of, found, cells, made, site.footings_of)
    return HTMLResponse(text, headers={"content-disposition": 'attachment; filename="agentwatt-what-if.html"'})


def report_of(found: Comparison, cells: list[Scenario], made: Provenance, footings_of: FootingsOf) -> str:
    """The report that `compare` writes, without sprint tests."""
    footings, titles = footings_of(cells)
    return render(found, footings, made, titles)
