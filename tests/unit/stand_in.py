"""An endpoint without sockets: cells played on the simulator with a law that the calibration does not know, as rows with noise."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.calibration.cell import Cell, CellRow, Endpoint, RequestRow
from simulator.calibration.live_plan import next_cells
from simulator.calibration.live_play import CellPlay, play
from simulator.engine.world import CACHE_BLOCKS, RESERVE_INPUT, Pool, Sched
from simulator.hardware.power import PowerLaw
from simulator.hardware.step_law import FRACTION_BITS, StepLaw
from simulator.units import to_ps

NO_POWER = PowerLaw(0, 0, 0, 0, 0, 1, np.zeros(1, np.int64), 0, 0, 0, 0)


def hidden_pool(
    law: dict[str, float], blocks: int, budget: int = 512, seats: int = 32, cache: int = CACHE_BLOCKS, shared: np.ndarray | None = None
) -> Pool:
    """A worker whose law is given in seconds under the names of the fit."""
    table = np.zeros(1, np.int64) if shared is None else np.rint(shared * 1e12).astype(np.int64)
    step = StepLaw(
        to_ps(law["floor_s"]), table, to_ps(law["sequence_s"]), to_ps(law["context_token_s"] * 2**FRACTION_BITS), 0,
        to_ps(law["prefill_token_s"]), to_ps(law["prefill_pair_s"] * 2**FRACTION_BITS),
    )  # fmt: skip
    sched = Sched(budget, seats, 0, 1, RESERVE_INPUT, 0, 1, cache, 0, 1000, 0)
    return Pool(0, 1, 1, blocks, 0, sched, step, NO_POWER)


@dataclass
class StandIn:
    """Answers cells in virtual time.

    ``noise`` is the relative deviation of step times, half of its variance common to a cell; ``stalls`` is the share of cells in which
    a step hangs for a third of a second; ``pace`` says how much longer steps take at a moment of the run; without ``metrics`` only the
    client's clocks tell times; ``gap_s`` goes by between two cells; ``late_s`` is the mean by which the client sends later than asked.
    """

    pool: Pool
    block_tokens: int
    request_s: float = 0.002
    noise: float = 0.0
    stalls: float = 0.0
    pace: Callable[[float], float] = lambda moment_s: 1.0
    metrics: bool = True
    gap_s: float = 0.0
    late_s: float = 0.0
    seed: int = 7
    now_s: float = 0.0
    cells: list[CellRow] = field(default_factory=list)
    requests: list[RequestRow] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        """As a probe would find it: nothing of what is to be found."""
        return Endpoint(
            "http://stand-in", "hidden", "vllm" if self.metrics else "none", None, True, True, True, True, True,
            max_context_tokens=2048, max_seqs=None, block_tokens=None, kv_blocks=None, token_budget=None, vocabulary=1000,
        )  # fmt: skip

    def calibrate(self, budget_s: float) -> None:
        """Runs the plan to its end."""
        while todo := next_cells(self.endpoint, budget_s, self.cells, self.requests):
            for cell in todo:
                self.run(cell)

    def warp(self, found: CellPlay, random: np.random.Generator) -> Callable[[float], float]:
        """Virtual time as the noise bends it: every step takes somewhat longer or shorter, and in some cells one step hangs."""
        length = self.pace(self.now_s) * np.diff(found.ends_s, prepend=0.0)
        bent = length * np.exp(self.noise * (random.standard_normal(len(length)) + random.standard_normal()) / np.sqrt(2))
        if random.random() < self.stalls:
            bent[random.integers(len(bent))] += 0.3
        ends, bent_ends = np.append(0.0, found.ends_s), np.append(0.0, np.cumsum(bent))
        return lambda moment: float(np.interp(moment, ends, bent_ends))

    def delayed(self, cell: Cell) -> Cell:
        """The cell as a client sends it that is held up."""
        if not self.late_s:
            return cell
        random = np.random.default_rng([self.seed, len(self.cells)])
        late = lambda turn: replace(turn, wait_s=turn.wait_s + self.late_s * random.standard_exponential())  # noqa: E731
        return replace(cell, sessions=tuple(tuple(late(turn) for turn in session) for session in cell.sessions))

    def run(self, cell: Cell) -> None:
        """Plays one cell and keeps its rows."""
        found = play(self.delayed(cell), self.pool, self.block_tokens, self.request_s)
        warp = self.warp(found, np.random.default_rng([self.seed, len(self.cells)]))
        rows, sums = [], dict.fromkeys(("prefill_s", "prefill_count", "decode_s", "decode_count"), 0.0)
        for (session, turn), one in sorted(found.requests.items()):
            arrived, admitted, first, last = (warp(mark) for mark in (one.sent_s, one.admit_s, one.first_s, one.last_s))
            asked = cell.sessions[session][turn]
            rows.append(
                RequestRow(
                    cell.id, session, turn, asked.measured, self.now_s + arrived - self.request_s, self.now_s + first, self.now_s + last,
                    self.now_s + last, one.prompt_tokens, one.output_tokens, one.prompt_tokens, one.cached_tokens, one.output_tokens,
                    one.output_tokens, status=200,
                )
            )  # fmt: skip
            for name, value in (("prefill_s", first - admitted), ("prefill_count", 1), ("decode_s", last - first), ("decode_count", 1)):
                sums[name] += value
        start, end = self.now_s, max(row.end_s for row in rows)
        self.now_s = end + self.gap_s
        self.requests += rows
        metrics = sums if self.metrics else {}
        self.cells.append(CellRow(cell.id, cell.kind, cell.repetition, cell.params, cell.lanes, start, end, len(rows), 0, metrics))
