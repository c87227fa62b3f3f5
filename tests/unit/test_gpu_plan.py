"""The plan of a GPU measurement: sizes from the model cards, the arithmetic of a cell, and what a budget keeps."""

import pytest

from simulator.calibration import gpu_cells as cells
from simulator.calibration.gpu_cells import Entry, parse_size, size_text
from simulator.calibration.gpu_plan import TOKENS, make_plan
from simulator.calibration.gpu_shapes import Shapes, shapes
from simulator.calibration.gpu_small import LARGEST, small_plan
from simulator.catalog import names
from simulator.hardware.load import load_model

NAMES = ("deepseek_v4_pro", "deepseek_r1", "gpt_oss_120b")


@pytest.fixture(scope="module")
def models() -> list[Shapes]:
    return [shapes(load_model(name)) for name in NAMES]


def test_shapes_are_those_of_the_configs(models: list[Shapes]) -> None:
    pro, r1, oss = ({each.part: (each.k, each.n) for each in model.matrices} for model in models)
    assert pro == {"query": (1536, 128 * 512), "output": (16 * 1024, 7168), "shared_gate_up": (7168, 6144), "head": (7168, 129_280)}
    assert r1 == {
        "query": (1536, 128 * 192), "output": (128 * 128, 7168), "dense_gate_up": (7168, 36_864), "shared_gate_up": (7168, 4096),
        "head": (7168, 129_280),
    }  # fmt: skip
    assert oss == {"query": (2880, (64 + 16) * 64), "output": (64 * 64, 2880), "head": (2880, 201_088)}
    assert [model.experts and model.experts.count for model in models] == [384, 256, 128]
    assert [(model.attention, model.entry.values, model.topk, model.ratio) for model in models] == [
        ("sparse", 512, 1024 + 128, 4),
        ("mla", 576, 0, 1),
        ("gqa", 2 * 8 * 64, 0, 1),
    ]


@pytest.mark.parametrize("name", names("models"))
def test_every_model_card_has_shapes(name: str) -> None:
    found = shapes(load_model(name))
    assert sum(each.share for each in found.matrices) == pytest.approx(1)
    assert (found.experts is None) == load_model(name).dense
    assert make_plan([found], 3600).visits


def test_arithmetic_of_a_gemm() -> None:
    cell = cells.gemm("output", "m", "fp8", tokens=4, k=100, n=1000)
    assert (cell.flops, cell.bytes) == (2 * 4 * 100 * 1000, 100_000 + 400 + 2 * 4000)
    assert cell.id == "gemm/output/m/fp8/tokens=4/k=100/n=1000"


def test_arithmetic_of_attention() -> None:
    grouped = cells.decode("gqa", "m", batch=2, context=100, held=100, heads=8, entry=Entry(2, 16, 16))
    assert grouped.flops == 2 * 2 * 8 * 100 * 32
    assert grouped.bytes == 2 * (2 * 100 * 2 * 32 + 2 * 8 * 32)
    latent = cells.decode("mla", "m", batch=2, context=100, held=100, heads=8, entry=Entry(1, 36, 32, shared=True))
    assert latent.flops == 2 * 2 * 8 * 100 * (36 + 32)
    assert latent.bytes == 2 * (2 * 100 * 36 + 2 * 8 * 68)
    prompt = cells.prefill("gqa", "m", chunk=10, prefix=90, heads=8, entry=Entry(2, 16, 16))
    assert prompt.flops == 4 * 8 * 16 * 10 * (90 + 5)


def test_copies_outgrow_the_cache() -> None:
    assert cells.copies(1e9) == 1
    assert cells.copies(100e6) * 100e6 >= cells.COLD_BYTES > 4 * 126e6  # B200's L2 cache has 126 MB, H200's 50


def test_size_goes_through_text() -> None:
    size = {"tokens": 16, "k": 7168}
    assert parse_size(size_text(size)) == size
    with pytest.raises(ValueError, match="not enough values"):
        parse_size("tokens")


def test_plan_of_ten_minutes(models: list[Shapes]) -> None:
    plan = make_plan(models, 600)
    assert 0.95 * 600 < plan.expected_s <= 600
    assert {visit.cell.kind for visit in plan.visits} == set(cells.KINDS)
    assert len({visit.key for visit in plan.visits}) == len(plan.visits)
    measured = {(v.cell.dtype, v.cell.size["tokens"]) for v in plan.visits if v.cell.kind == "gemm"}
    assert measured == {(dtype, tokens) for dtype in ("bf16", "fp8") for tokens in TOKENS}
    shares = {v.cell.size["chosen"] / v.cell.size["of"] for v in plan.visits if v.cell.kind == "experts"}
    assert min(shares) == 1 / 384
    assert max(shares) == 1
    assert {v.cell.part for v in plan.visits if v.cell.kind == "decode"} == {"gqa", "mla", "sparse"}


def test_more_time_keeps_what_less_time_kept(models: list[Shapes]) -> None:
    short, long, whole = (make_plan(models, seconds) for seconds in (300, 600, 3600))
    kept = [{visit.cell.id for visit in plan.visits} for plan in (short, long, whole)]
    assert kept[0] < kept[1] < kept[2]
    assert not whole.left_out
    assert all(kept[i] | {cell.id for cell in plan.left_out} == kept[2] for i, plan in enumerate((short, long)))


def test_order_is_drawn_and_the_drift_cell_spans_it(models: list[Shapes]) -> None:
    one, same, other = (make_plan(models, 600, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert [v.key for v in one.visits] != [v.key for v in other.visits]
    assert sorted(v.key for v in one.visits) == sorted(v.key for v in other.visits)
    drift = [place for place, visit in enumerate(one.visits) if visit.cell.part.startswith("drift")]
    idle = [place for place, visit in enumerate(one.visits) if visit.cell.kind == "idle"]
    assert idle == [0, 1, 2]
    assert drift[0] == 3
    assert abs(drift[1] - len(one.visits) / 2) <= 2
    assert drift[2] == len(one.visits) - 1


def test_repeats_are_visits_of_their_own(models: list[Shapes]) -> None:
    plan = make_plan(models, 3600, repeats=2)
    gemms = [visit.key for visit in plan.visits if visit.cell.kind == "gemm" and not visit.cell.part.startswith("drift")]
    assert len(gemms) == len(set(gemms)) == 2 * len({key[0] for key in gemms})


def test_small_plan_keeps_every_kind_and_part(models: list[Shapes]) -> None:
    plan = make_plan(models, 3600)
    small = small_plan(plan)
    assert {(v.cell.kind, v.cell.part) for v in small.visits} == {(v.cell.kind, v.cell.part) for v in plan.visits}
    assert all(value <= LARGEST[name] for v in small.visits for name, value in v.cell.size.items() if name in LARGEST and name != "value")
    assert max(v.cell.memory_bytes for v in small.visits) < 600e6
