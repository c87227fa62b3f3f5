"""The cells of a calibration by kind and parameters: equal ones are equal cells, so a run's rows suffice for a fit to play them again.

Streams of random tokens are numbered by the cell's id: what two cells ask has nothing in common; what is shared within one is shared on
purpose.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from simulator.calibration.cell import Cell, CellRow, RequestRow, Span, Turn
from simulator.workload.generate import FITTED, Shape, generate
from simulator.workload.trajectory import Trajectory

Sessions = tuple[tuple[Turn, ...], ...]

SHARES = (63, 121, 187, 251, 379, 509, 763)
"""Tokens shared by the pairs of prompts of a granularity cell: whole blocks of two sizes never give the same counts for all of them."""

STREAMS = 1 << 20
"""Streams that a cell may use."""

LEAST_PROMPT = 8


def make_cell(kind: str, params: Mapping[str, float], repetition: int) -> Cell:
    """The cell of a kind with its parameters; whole numbers all but ``wait_s`` and the scales of a replay."""
    name = f"{kind} {' '.join(f'{key}={value:g}' for key, value in params.items())} #{repetition}"
    base = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") * STREAMS
    sessions = BUILDERS[kind](params, base)
    return Cell(name, kind, repetition, dict(params), len(sessions), sessions)


def cell_of(row: CellRow) -> Cell:
    """The cell that a row is of."""
    return make_cell(row.kind, row.params, row.repetition)


def cells_as_sent(cells: Iterable[CellRow], rows: Mapping[str, Sequence[RequestRow]]) -> dict[str, Cell]:
    """The cells of rows, by the rows' ids, with the pauses that the client really made: one that a busy machine holds up sends late."""
    return {row.cell: as_sent(cell_of(row), row.start_s, rows.get(row.cell, ())) for row in cells}


def as_sent(cell: Cell, start_s: float, rows: Sequence[RequestRow]) -> Cell:
    """A cell with the pause before each turn as it was; a cell whose sessions wait for lanes is left as it is."""
    if cell.lanes < len(cell.sessions):
        return cell
    sent = {(row.session, row.turn): row for row in rows}
    sessions = []
    for number, turns in enumerate(cell.sessions):
        now_s = start_s
        session = []
        for place, turn in enumerate(turns):
            row = sent.get((number, place))
            session.append(turn if row is None else replace(turn, wait_s=max(0.0, row.sent_s - now_s)))
            now_s = now_s if row is None else row.end_s
        sessions.append(tuple(session))
    return replace(cell, sessions=tuple(sessions))


def _alone(base: int, number: int, tokens: float) -> tuple[Span, ...]:
    """A prompt that nothing else begins with."""
    return (Span(base + number, 0, int(tokens)),)


def _single(params: Mapping[str, float], base: int) -> Sessions:
    """One client, one prompt after another; the first only wakes the server."""
    turns = range(int(params["turns"]) + 1)
    return (tuple(Turn(_alone(base, n, params["prompt"]), int(params.get("output", 1)), 0.0, n > 0) for n in turns),)


def _batch(params: Mapping[str, float], base: int) -> Sessions:
    """Clients that all send at once and decode side by side."""
    return tuple((Turn(_alone(base, n, params["context"]), int(params["output"])),) for n in range(int(params["batch"])))


def _context(params: Mapping[str, float], base: int) -> Sessions:
    """Contexts that one client fills in first, so that those that decode behind them begin together and wait for no prompt.

    Without ``wait_s``, when they begin, nobody fills them in.
    """
    if "wait_s" not in params:
        return _batch(params, base)
    prompts = [_alone(base, n, params["context"]) for n in range(int(params["batch"]))]
    filler = tuple(Turn(prompt, 1, 0.0, False) for prompt in prompts)
    return (filler, *((Turn(prompt, int(params["output"]), params["wait_s"]),) for prompt in prompts))


def _mixed(params: Mapping[str, float], base: int) -> Sessions:
    """Long prompts that arrive while others decode; or twins that arrive together behind a prompt that keeps the server busy."""
    if "twin" in params:
        blocker = (Turn(_alone(base, 0, params["blocker"]), 1, 0.0, False),)
        twin_s = params["wait_s"]
        return (blocker, *((Turn(_alone(base, n, params["twin"]), 1, twin_s),) for n in (1, 2)))
    others = tuple((Turn(_alone(base, n, params["context"]), int(params["output"])),) for n in range(int(params["batch"])))
    long = tuple(Turn(_alone(base, 1000 + n, params["prompt"]), 1, params["wait_s"]) for n in range(int(params["turns"])))
    return (*others, long)


def _prefix(params: Mapping[str, float], base: int) -> Sessions:
    """Pairs of prompts of which the second begins as the first."""
    turns: list[Turn] = []
    for n in range(int(params["turns"])):
        turns += _pair(base + 2 * n, int(params["prompt"]), int(params["shared"]))
    return (tuple(turns),)


def _pair(base: int, prompt: int, shared: int) -> list[Turn]:
    first = Turn((Span(base, 0, prompt),), 1, 0.0, False)
    return [first, Turn((Span(base, 0, shared), Span(base + 1, 0, prompt - shared)), 1)]


def _granularity(params: Mapping[str, float], base: int) -> Sessions:
    """Pairs of prompts that share odd numbers of tokens."""
    fitting = [shared for shared in SHARES if shared < params["prompt"]]
    return (tuple(turn for n, shared in enumerate(fitting) for turn in _pair(base + 2 * n, int(params["prompt"]), shared)),)


def _branch(params: Mapping[str, float], base: int) -> Sessions:
    """A-B-A: two prompts that branch off after what they share, then the first again."""
    shared, tail = int(params["shared"]), int(params["tail"])
    a, b = ((Span(base, 0, shared), Span(base + n, 0, tail)) for n in (1, 2))
    return ((Turn(a, 1, 0.0, False), Turn(b, 1), Turn(a, 1)),)


def _capacity(params: Mapping[str, float], base: int) -> Sessions:
    """Prompts one after another, then all of them again from the last to the first: what is found again was kept."""
    prompts = [_alone(base, n, params["prompt"]) for n in range(int(params["prompts"]))]
    first = [Turn(prompt, 1, 0.0, False) for prompt in prompts]
    return ((*first, *(Turn(prompt, 1) for prompt in reversed(prompts))),)


def _saturation(params: Mapping[str, float], base: int) -> Sessions:
    """Clients in a closed loop, each with its own prompts."""
    turns = range(int(params["turns"]))
    return tuple(
        tuple(Turn(_alone(base, 1000 * client + n, params["prompt"]), int(params["output"])) for n in turns)
        for client in range(int(params["clients"]))
    )


def _replay(params: Mapping[str, float], base: int) -> Sessions:
    """Agents that play drawn trajectories: growing prompts behind a common prefix, answers, and pauses for tools."""
    agents, calls = int(params["agents"]), int(params["calls"])
    drawn = generate(agents * max(1, -(-calls // 3)), int(params["seed"]), scaled_shape(params)).trajectories
    return tuple(_agent(drawn[agent::agents], calls, params, base, base + 1 + 1000 * agent) for agent in range(agents))


def scaled_shape(params: Mapping[str, float]) -> Shape:
    """The generator's shape with shorter prompts, answers and runs."""
    size, answer = params["prompt_scale"], params["output_scale"]
    low, high = FITTED.kept_share
    kept = min(1.0, size / answer)
    return replace(
        FITTED,
        calls_median=params["run_calls"],
        shared_prefix_tokens=max(LEAST_PROMPT, round(FITTED.shared_prefix_tokens * size)),
        task_floor_tokens=max(LEAST_PROMPT, round(FITTED.task_floor_tokens * size)),
        task_tokens=FITTED.task_tokens * size,
        result_scale=FITTED.result_scale * size,
        output_median=FITTED.output_median * answer,
        max_output_tokens=int(params["most_output"]),
        max_prompt_tokens=int(params["most_prompt"]),
        kept_share=(low * kept, high * kept),
    )


def _agent(runs: Sequence[Trajectory], calls: int, params: Mapping[str, float], common: int, own: int) -> tuple[Turn, ...]:
    """The first calls of an agent's trajectories, one after another."""
    shared = scaled_shape(params).shared_prefix_tokens
    turns: list[Turn] = []
    wait_s = 0.0
    for number, run in enumerate(runs):
        for call in run.calls:
            prompt = (Span(common, 0, shared), Span(own + number, 0, call.prompt_tokens - shared))
            turns.append(Turn(prompt, call.output_tokens, wait_s))
            wait_s = round(call.tool_s * params["wait_scale"], 3)
    return tuple(turns[:calls])


BUILDERS: Mapping[str, Callable[[Mapping[str, float], int], Sessions]] = {
    "floor": _single,
    "prefill": _single,
    "decode": _batch,
    "context": _context,
    "mixed": _mixed,
    "prefix": _prefix,
    "branch": _branch,
    "granularity": _granularity,
    "capacity": _capacity,
    "saturation": _saturation,
    "replay": _replay,
    "drift": _single,
}
