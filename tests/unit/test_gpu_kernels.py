"""Every kernel on the CPU: its shapes fit, it does the FLOPs that the plan says, and it reads and writes the bytes. Needs PyTorch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: the kernels of measure-gpu cannot be tried")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from simulator.calibration import gpu_kernels, gpu_run  # noqa: E402
from simulator.calibration.gpu_cells import Cell  # noqa: E402
from simulator.calibration.gpu_evidence import Row  # noqa: E402
from simulator.calibration.gpu_meter import Reading  # noqa: E402
from simulator.calibration.gpu_plan import Plan, make_plan  # noqa: E402
from simulator.calibration.gpu_shapes import shapes  # noqa: E402
from simulator.calibration.gpu_small import small_plan  # noqa: E402
from simulator.hardware.load import load_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's own
torch.set_num_threads(1)  # small work, and other processes beside
PLAN = small_plan(make_plan([shapes(load_model(name)) for name in ("deepseek_v4_pro", "deepseek_r1", "gpt_oss_120b")], 3600))
CELLS = {(visit.cell.kind, visit.cell.part, visit.cell.model, visit.cell.dtype): visit.cell for visit in PLAN.visits}


def counted_flops(call: Any) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return float(counter.get_total_flops())


def cells_of(*kinds: str) -> list[Any]:
    return [pytest.param(cell, id=cell.id) for cell in CELLS.values() if cell.kind in kinds]


@pytest.mark.parametrize("cell", cells_of("gemm", "experts", "duty"))
def test_matrix_products_do_what_the_plan_says(cell: Cell) -> None:
    kernel = gpu_kernels.build(cell, "cpu")
    out = kernel.call(0)
    if kernel.how != "grouped_mm":  # PyTorch does not count that one
        assert counted_flops(lambda: kernel.call(0)) == cell.flops
    rows = cell.size.get("tokens") or cell.size["chosen"] * cell.size["rows"]
    assert out.numel() == rows * cell.size["n"]
    assert out.dtype == torch.bfloat16
    assert kernel.moved_bytes == cell.bytes


@pytest.mark.parametrize("cell", cells_of("experts"))
def test_all_ways_of_a_grouped_product_agree(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: dict[str, gpu_kernels.Call] = {}
    monkeypatch.setattr(gpu_kernels, "_first_that_runs", lambda given: (ways.update(given), (*next(iter(given.items())), ""))[1])
    gpu_kernels.build(cell, "cpu")
    first, *others = (call(0).flatten().float() for call in ways.values())
    assert len(others) == 1, "this PyTorch has no grouped_mm"
    assert torch.allclose(first, others[0], rtol=0.05, atol=0.2)


@pytest.mark.parametrize("cell", cells_of("decode"))
def test_decode_attention(cell: Cell) -> None:
    kernel = gpu_kernels.build(cell, "cpu")
    out = kernel.call(0)
    assert out.numel() == cell.size["batch"] * cell.size["heads"] * cell.size["value"]
    assert torch.isfinite(out).all()
    assert kernel.moved_bytes > cell.bytes  # gathered first
    if cell.size["shared"]:
        assert counted_flops(lambda: kernel.call(0)) == cell.flops


@pytest.mark.parametrize("cell", cells_of("prefill"))
def test_prefill_attention(cell: Cell) -> None:
    kernel = gpu_kernels.build(cell, "cpu")
    out = kernel.call(0)
    assert out.shape[-2:] == (cell.size["chunk"], cell.size["value"])
    assert torch.isfinite(out).all()


def test_pages_are_drawn_once_each() -> None:
    cell = next(cell for cell in CELLS.values() if cell.part == "gqa" and cell.kind == "decode")
    _, table = gpu_kernels._pages(cell, 8, "cpu")
    assert sorted(table.flatten().tolist()) == list(range(table.numel()))


def test_first_way_that_runs() -> None:
    def broken(i: int) -> None:
        raise RuntimeError("no kernel image\nand a trace")

    how, call, note = gpu_kernels._first_that_runs({"a": broken, "b": lambda i: 1})
    assert (how, call(0), note) == ("b", 1, "a: no kernel image")
    with pytest.raises(gpu_kernels.UnsupportedError, match="a: no kernel image"):
        gpu_kernels._first_that_runs({"a": broken})


class FakeMeter:
    """300 W, as an energy counter that ticks at every look."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def look(self) -> Reading:
        self.time_s += 0.01
        return Reading(self.time_s, energy_j=300.0 * self.time_s, sm_mhz=1_500, temperature_c=40, throttle=4)

    energy = look


def one_of_each() -> Plan:
    kinds = {(visit.cell.kind, visit.cell.part): visit for visit in PLAN.visits}
    return replace(PLAN, visits=tuple(kinds.values()))


def play(plan: Plan, done: Sequence[Row], kept: list[Any], **change: Any) -> tuple[Row, ...]:
    given = {"device": "cpu", "meter": FakeMeter(), "budget_s": 60.0, "keep": kept.append, "tell": lambda line: None, **change}
    return gpu_run.run(plan, done, **given)


def test_a_run_measures_every_kind_and_keeps_each_row_at_once() -> None:
    kept: list[Any] = []
    rows = play(one_of_each(), (), kept)
    assert [row.status for row in rows] == ["ok"] * len(rows), [row.message for row in rows if row.status != "ok"]
    assert len(kept) == len(rows)
    assert all(row.watts == pytest.approx(300) for row in rows)
    assert all(row.throttle == "power cap" and row.sm_mhz == 1_500 for row in rows)
    busy = [row for row in rows if row.kind not in ("idle", "launch")]
    assert all(row.bytes_per_s and row.time_low_s <= row.time_s <= row.time_high_s for row in busy)  # type: ignore[operator]


def test_pauses_lower_the_rate() -> None:
    visits = [visit for visit in PLAN.visits if visit.cell.kind == "duty" and visit.cell.size["busy_percent"] in (10, 75)]
    rows = play(replace(PLAN, visits=tuple(visits), window_s=0.2), (), [])
    busy = {row.sizes["busy_percent"]: row.calls * row.time_s / row.window_s for row in rows}  # type: ignore[operator]
    assert busy[10] < 0.4 * busy[75]


def test_a_run_goes_on_where_it_was_killed() -> None:
    plan = one_of_each()
    first = play(replace(plan, visits=plan.visits[:3]), (), [])
    kept: list[Any] = []
    rows = play(plan, first, kept)
    assert rows[:3] == first
    assert len(kept) == len(plan.visits) - 3
    assert [row.key for row in rows] == [visit.key for visit in plan.visits]


def test_a_spent_budget_leaves_the_rest_for_the_next_run() -> None:
    told: list[str] = []
    assert play(one_of_each(), (), [], budget_s=-1.0, tell=told.append) == ()
    assert "the same command makes the other" in told[-1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("tried to allocate"), "out_of_memory"),
        (gpu_kernels.UnsupportedError("FP8 needs more"), "unsupported"),
        (RuntimeError("launch failed\nat a place"), "failed"),
    ],
)
def test_what_goes_wrong_marks_the_cell_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, error: Exception, status: str) -> None:
    build = gpu_run.build

    def breaks(cell: Cell, device: str) -> Any:
        if cell.kind == "gemm":
            raise error
        return build(cell, device)

    monkeypatch.setattr(gpu_run, "build", breaks)
    rows = play(one_of_each(), (), [])
    assert {row.status for row in rows if row.kind == "gemm"} == {status}
    assert {row.status for row in rows if row.kind != "gemm"} == {"ok"}
    assert all(row.message and row.watts is None and row.time_s is None for row in rows if row.kind == "gemm")
