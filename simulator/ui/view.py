"""The page's pieces as HTML: the head with the form, the answer, the frontier row by row, excerpts, and the tail. Inputs are results."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from simulator.capacity.cost import Cost
from simulator.capacity.demand import PRICES
from simulator.capacity.results import Answer
from simulator.capacity.study import StudyPoint
from simulator.report.canvas import SYSTEMS, VARIABLES, Drawing
from simulator.report.phrases import BASES, QUALITIES, finding, limited_by, number, plain, promise, words
from simulator.report.section import figure_parts
from simulator.report.template import templates
from simulator.ui.choices import Choice, deployments, loads
from simulator.ui.form import CONTROLS, FIRST, Filled, Question

PAID_BY = {"own": "owned", "rent": "rented", "buy": "bought: capital written off, and electricity"}


class Page:
    """The pieces of the page."""

    def __init__(self, version: str) -> None:
        self._templates = templates("simulator.ui", "simulator.report")
        self._version = version

    def head(self, filled: Filled, asking: bool) -> str:
        """Everything up to the answer: the form with its values, and each mistake beside its field."""
        return self._piece(
            "head",
            version=self._version,
            values=filled.values,
            mistakes=filled.mistakes,
            controls=CONTROLS,
            groups=by_system(),
            loads=loads(),
            asking=asking,
        )

    def patience(self) -> str:
        """A sign of life within the notice of a long search."""
        return self._piece("patience")

    def answers(
        self,
        question: Question,
        answers: Sequence[Answer],
        costs: Sequence[Cost | None],
        command: str,
        values: Mapping[str, str],
        took_s: float,
    ) -> str:
        """What is held, by which limits, for how much; the report and the command line of the same."""
        titled = [replace(answer, system=slot.label) for slot, answer in zip(question.slots, answers, strict=True)]
        return self._piece(
            "answer",
            headline=finding(titled),
            promise=promise(answers[0].slo),
            tiles=[_tile(answer, place) for place, answer in enumerate(titled)],
            names=[answer.system for answer in titled],
            rows=_rows(answers, costs),
            limits=[(answer.system, plain(answer.sentence) or "Not one agent is held.") for answer in titled],
            seeds=len(question.asked.seeds),
            share=100 * question.asked.search.share,
            enough=question.asked.phase.enough_trajectories,
            took_s=took_s,
            command=command,
            query=urlencode({name: values[name] for name in FIRST}),
            quality=worst(answers),
            qualities=QUALITIES,
        )

    def frontier_head(self, question: Question) -> str:
        """The frontier's table, open for its rows."""
        return self._piece("frontier_head", names=[slot.label for slot in question.slots])

    def frontier_row(self, speed_tok_s: float, points: Sequence[StudyPoint]) -> str:
        """One floor."""
        cells = [
            (number(p.per_mw("accelerator")), f"{p.agents:,}", words(p.limiter) if p.limiter else "") if p.agents else None for p in points
        ]
        return self._piece("frontier_row", speed=f"{speed_tok_s:g}", cells=cells)

    def frontier_tail(self, drawing: Drawing) -> str:
        """The table's end and the figure."""
        return self._piece("frontier_tail", drawing=figure_parts([drawing])[0])

    def excerpt_head(self) -> str:
        """The heading of the excerpts."""
        return self._piece("excerpt_head")

    def excerpt(self, drawing: Drawing) -> str:
        """One figure of an excerpt."""
        return self._piece("figure", drawing=figure_parts([drawing])[0])

    def failure(self, lines: Sequence[str]) -> str:
        """Why there is no more."""
        return self._piece("failure", lines=list(lines))

    def tail(self) -> str:
        """The end of the page."""
        return self._piece("tail", version=self._version)

    def _piece(self, name: str, **values: Any) -> str:
        return self._templates.get_template(f"{name}.html.j2").render(values)


def by_system() -> dict[str, list[Choice]]:
    """The deployments of the lists under their systems' titles."""
    groups: dict[str, list[Choice]] = {}
    for choice in deployments().values():
        groups.setdefault(choice.system_title, []).append(choice)
    return groups


def worst(answers: Sequence[Answer]) -> str:
    """The worst quality beneath the answers."""
    order = list(QUALITIES)
    return max((answer.quality for answer in answers), key=lambda quality: order.index(quality) if quality in order else len(order))


def _tile(answer: Answer, place: int) -> dict[str, str]:
    watts = f", {number(answer.accelerator_w_per_gpu)} W each" if answer.agents_held else ""
    return {
        "colour": VARIABLES[SYSTEMS[place]],
        "name": answer.system,
        "held": f"{answer.agents_held:,}",
        "detail": f"on {answer.gpus} GPUs{watts}",
        "per_mw": number(answer.agents_per_mw.accelerator),
    }


def _rows(answers: Sequence[Answer], costs: Sequence[Cost | None]) -> list[tuple[str, str, list[str]]]:
    """Rows of the table: what, on which basis, and a cell for each system."""
    rows = [("Agents per GPU", "", [number(a.agents_per_gpu) for a in answers])]
    for basis, meaning in BASES.items():
        name = "TDP" if basis == "tdp" else basis
        rows.append((f"Agents per MW, {name}", meaning, [number(getattr(a.agents_per_mw, basis)) for a in answers]))
    for price in PRICES:
        cells = [number(c.usd_per_agent_hour[price]) if c else "–" for c in costs]
        rows.append((f"USD per agent-hour, {price}", PAID_BY[price], cells))
    rows.append(("USD per GPU-hour, own", "as given, or the profile's", [number(c.usd_per_gpu_hour["own"]) if c else "–" for c in costs]))
    pools = [(a.broken or a.held) for a in answers]
    limits = [limited_by(a.limiter, a.binding_pool, p.pools if p else ()) or "–" for a, p in zip(answers, pools, strict=True)]
    return [
        *rows,
        ("Limited by", "what breaks first when one more agent comes", limits),
        ("Quality", "the worst beneath", [a.quality for a in answers]),
    ]
