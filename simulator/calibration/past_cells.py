"""Runs that somebody has made already, as cells to be played: who followed whom, and what prompts share. Inputs: past runs.

A run becomes one cell that is played whole: each request on a lane, after the request whose end it followed, as late after that as it was.
Its requests are read in groups of alike ones: each group is a row of cells. The last part of each run is a row of its own, held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.calibration.cell import Cell, CellRow, RequestRow, Span, Turn
from simulator.calibration.past_law import MOST_REQUESTS, SINGLY, TOGETHER, Columns, cut, likeness
from simulator.calibration.past_run import PastRequest, PastRun


@dataclass(frozen=True)
class PastCells:
    """Past runs as rows.

    Attributes
    ----------
    cells, held : tuple of CellRow
        Groups to fit to, and the held-out part of each run.
    requests : tuple of RequestRow
        Of both.
    made : dict of str to Cell
        What is played for each row: the whole of its run.
    """

    cells: tuple[CellRow, ...]
    held: tuple[CellRow, ...]
    requests: tuple[RequestRow, ...]
    made: dict[str, Cell]


def past_cells(runs: Sequence[PastRun]) -> PastCells:
    """The rows of some runs of one endpoint."""
    cells: list[CellRow] = []
    held: list[CellRow] = []
    rows: list[RequestRow] = []
    made: dict[str, Cell] = {}
    for number, run in enumerate(runs):
        whole = _Whole.of(run, number)
        groups, out = whole.groups(), whole.held_out()
        last = f"{whole.cell.id} held out"
        cells += [whole.row(group, places) for group, places in groups.items()]
        held += [whole.row(last, out)] if out else []
        for name, places in {**groups, last: out}.items():
            rows += [whole.request_row(name, place) for place in places]
            made[name] = whole.cell
    return PastCells(tuple(cells), tuple(held), tuple(rows), made)


@dataclass(frozen=True)
class _Whole:
    """A run as one cell; ``places`` says for each request, in order of start, its lane and its place there."""

    run: PastRun
    requests: tuple[PastRequest, ...]
    cell: Cell
    places: tuple[tuple[int, int], ...]

    @staticmethod
    def of(run: PastRun, number: int) -> "_Whole":
        requests = run.requests[:MOST_REQUESTS]
        places = lanes(requests)
        sessions: list[list[Turn]] = [[] for _ in range(1 + max(lane for lane, _ in places))]
        ends = [requests[0].start_s] * len(sessions)
        for request, (lane, _), prompt in zip(requests, places, prompts_of(requests, number), strict=True):
            wait_s = max(0.0, request.start_s - ends[lane])
            sessions[lane].append(Turn(prompt, request.output_tokens, wait_s, request.measured))
            ends[lane] = request.end_s
        cell = Cell(run_name(run, number), "replay", 1, {}, len(sessions), tuple(map(tuple, sessions)))
        return _Whole(run, requests, cell, tuple(places))

    def held_out(self) -> list[int]:
        """The measured requests that nothing is fitted to, by their number in order of start."""
        return [i for i in range(cut(self.run), len(self.requests)) if self.requests[i].measured]

    def groups(self) -> dict[str, list[int]]:
        """The requests to fit to, alike ones under one name."""
        measured = [i for i in range(cut(self.run)) if self.requests[i].measured]
        if len(measured) <= SINGLY:
            return {f"{self.cell.id} request {i + 1}": [i] for i in measured}
        beside = Columns.of(self.requests).beside
        found: dict[str, list[int]] = {}
        for i in measured:
            found.setdefault(f"{self.cell.id} {likeness(self.requests[i], beside[i])}", []).append(i)
        return {name: own for name, own in found.items() if len(own) >= TOGETHER}

    def row(self, name: str, numbers: Sequence[int]) -> CellRow:
        """The row of a group."""
        own = [self.requests[i] for i in numbers]
        began = self.requests[0].start_s
        start_s, end_s = min(one.start_s for one in own) - began, max(one.end_s for one in own) - began
        return CellRow(name, "replay", 1, {}, self.cell.lanes, start_s, end_s, len(own), 0)

    def request_row(self, name: str, number: int) -> RequestRow:
        """The row of a request."""
        request, began = self.requests[number], self.requests[0].start_s
        first_s = request.first_s - began
        last_s = first_s + request.tpot_s * (request.output_tokens - 1) if request.tpot_s is not None else request.end_s - began
        prompt, output = request.prompt_tokens, request.output_tokens
        return RequestRow(
            name, *self.places[number], request.measured, request.start_s - began, first_s, last_s, request.end_s - began, prompt, output,
            prompt, request.cached_tokens, output, output, request.tpot_s is None and output > 1, status=200,
        )  # fmt: skip


def run_name(run: PastRun, number: int) -> str:
    """A name for messages and rows, unique among some runs; what follows `` #`` would be taken for a repetition."""
    return f"run {number + 1} ({run.name.replace('#', '_')})"


def lanes(requests: Sequence[PastRequest]) -> list[tuple[int, int]]:
    """Lane and place of each request: after the turn before it of its conversation, else after the request that ended last before it began.

    A lane whose conversation goes on is kept for it.
    """
    left: dict[str, int] = {}
    for request in requests:
        left[request.conversation] = left.get(request.conversation, 0) + 1
    ends: list[float] = []
    counts: list[int] = []
    owner: list[str] = []
    found = []
    for request in requests:
        free = [lane for lane, end_s in enumerate(ends) if end_s <= request.start_s]
        own = [lane for lane in free if request.conversation and owner[lane] == request.conversation]
        anybodys = [lane for lane in free if not owner[lane]]
        if own or anybodys:
            lane = max(own or anybodys, key=ends.__getitem__)
        else:
            lane = len(ends)
            ends, counts, owner = [*ends, 0.0], [*counts, 0], [*owner, ""]
        left[request.conversation] -= 1
        ends[lane], owner[lane] = request.end_s, request.conversation if left[request.conversation] else ""
        found.append((lane, counts[lane]))
        counts[lane] += 1
    return found


def prompts_of(requests: Sequence[PastRequest], run: int) -> list[tuple[Span, ...]]:
    """Prompts that share what was found in the cache: as many tokens of an earlier prompt as the file says.

    The earlier prompt is that of the turn before, else the latest that is long enough. Where a file does not say, a turn begins as the one
    before it, and other prompts share nothing.
    """
    before: dict[str, tuple[Span, ...]] = {}
    found: list[tuple[Span, ...]] = []
    for number, request in enumerate(requests):
        own = Span((run << 32) + number, 0, request.prompt_tokens)
        earlier = before.get(request.conversation, ()) if request.conversation else ()
        shared = request.prompt_tokens - 1 if request.cached_tokens is None else min(request.cached_tokens, request.prompt_tokens - 1)
        if not earlier and request.cached_tokens:
            earlier = next((prompt for prompt in reversed(found) if _tokens(prompt) >= shared), ())
        head = _cut(earlier, shared)
        rest = request.prompt_tokens - _tokens(head)
        found.append((*head, Span(own.stream, 0, rest)))
        before[request.conversation] = found[-1]
    return found


def _tokens(prompt: Sequence[Span]) -> int:
    return sum(span.tokens for span in prompt)


def _cut(prompt: Sequence[Span], tokens: int) -> tuple[Span, ...]:
    """The first tokens of a prompt."""
    found = []
    for span in prompt:
        take = min(span.tokens, tokens)
        if take:
            found.append(Span(span.stream, span.start, take))
        tokens -= take
    return tuple(found)
