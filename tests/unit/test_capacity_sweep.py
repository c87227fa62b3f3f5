"""Sweeps on paper: axes, points, keys and what is refused before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from simulator.capacity.scenario_file import load_scenario
from simulator.capacity.sweep import duration
from simulator.capacity.sweep_axes import parse_axes, points_of
from simulator.capacity.sweep_plan import plan_sweep
from simulator.errors import UserError

TINY = Path(__file__).resolve().parents[1] / "cli" / "tiny.yaml"


def values(text: str) -> tuple[Any, ...]:
    (axis,) = parse_axes([text])
    return axis.values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slo.speed_tok_s=20,40", (20, 40)),
        ("power.cap_w=300..700/5", (300, 400, 500, 600, 700)),
        ("power.cap_w=300..700/4", (300.0, 433.333, 566.667, 700.0)),
        ("deployment.workers=1..4", (1, 2, 3, 4)),
        ("workload.tool_delay_scale=0.5..2.0/4", (0.5, 1.0, 1.5, 2.0)),
        ("slo.speed_tok_s=5,10..30/3", (5, 10, 20, 30)),
        ("deployment=a,{extends: a, workers: 2}", ("a", {"extends": "a", "workers": 2})),
        ("workload.stops=true,false", (True, False)),
    ],
)
def test_values_of_an_axis(text: str, expected: tuple[Any, ...]) -> None:
    found = values(text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    "text",
    [
        *("x", "x=", "x=1,1", "x=1,1.0", "x=5..1", "x=1..3/1", "x=1,0.5..2.0", "a b=1", "sweep.seed=1,2", "cells.0.slo=1"),
        *("x=1..999999999", "x=1..3/" + 5000 * "9"),
    ],
    ids=lambda text: text[:20],
)
def test_axes_that_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_axes([text])


def test_the_last_axis_of_a_grid_is_the_fastest() -> None:
    points = points_of(parse_axes(["a=1,2", "b=x,y"]), 0, 1, "")
    assert points == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


def test_a_latin_hypercube_takes_one_draw_from_every_slice() -> None:
    axes = parse_axes(["a=0.0..1.0", "b=1..5", "c=x,y"])
    points = points_of(axes, 10, 1, "")
    assert sorted(int(10 * point["a"]) for point in points) == list(range(10))
    assert sorted(point["b"] for point in points) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert sorted(point["c"] for point in points) == ["x"] * 5 + ["y"] * 5
    alone = points_of(axes[:1], 10, 1, "")
    assert [point["a"] for point in alone] == [point["a"] for point in points]
    assert points_of(axes, 10, 2, "") != points


def test_a_range_without_a_number_of_values_needs_a_hypercube() -> None:
    with pytest.raises(UserError, match="say how many"):
        points_of(parse_axes(["a=0.5..2.0"]), 0, 1, "")


def test_a_point_is_the_scenario_with_its_fields_set() -> None:
    plan = plan_sweep(TINY, parse_axes(["slo.speed_tok_s=30,60", "deployment.max_seqs=8,16"]))
    assert [point.scenario for point in plan.points] == [
        load_scenario(TINY, {"slo.speed_tok_s": speed, "deployment.max_seqs": seats}) for speed in (30, 60) for seats in (8, 16)
    ]


def test_a_whole_part_is_set_before_what_changes_inside_it() -> None:
    (point, *_) = plan_sweep(TINY, parse_axes(["deployment.max_seqs=8", "deployment=hgx_h200_v4pro_60tps"])).points
    assert point.scenario.deployment == {"extends": "hgx_h200_v4pro_60tps", "max_seqs": 8}


def test_the_block_of_a_scenario_is_the_same_sweep_as_the_options(tmp_path: Path) -> None:
    block = "sweep:\n  vary:\n    slo.speed_tok_s: [30, 60]\n    power.cap_w: 300..700/3\n  latin: 4\n  seed: 3\n"
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY.read_text(encoding="utf-8") + block, encoding="utf-8")
    written = plan_sweep(file)
    asked = plan_sweep(TINY, parse_axes(["slo.speed_tok_s=30,60", "power.cap_w=300..700/3"]), {"sweep.seed": 3}, 4)
    assert [point.key for point in written.points] == [point.key for point in asked.points]
    assert load_scenario(file) == load_scenario(TINY)
    assert len(plan_sweep(file, parse_axes(["slo.speed_tok_s=30,60,90"]), latin=0).points) == 9


def keys(*texts: str, overrides: dict[str, Any] | None = None) -> list[str]:
    return [point.key for point in plan_sweep(TINY, parse_axes(texts), overrides).points]


def test_a_key_follows_what_is_asked_and_nothing_else() -> None:
    base = keys("slo.speed_tok_s=30,60")
    assert len(set(base)) == 2
    assert keys("slo.speed_tok_s=60,30", overrides={"notes": "another remark"}) == base[::-1]
    for field, value in (("seeds", 2), ("phase.warmup_s", 3), ("search.ceiling", 16), ("workload.osl", 51), ("deployment.max_seqs", 7)):
        assert not set(keys("slo.speed_tok_s=30,60", overrides={field: value})) & set(base)


def test_a_key_follows_the_content_of_files_not_their_names(tmp_path: Path) -> None:
    profile = "extends: hgx_h200_v4pro_20tps\nname: mine\nmax_seqs: {value: %d, unit: count, source: a test, quality: assumed}\n"
    load = {"workload": {"kind": "trajectories", "source": str(tmp_path / "one.jsonl.gz")}}
    from simulator.catalog import find_data

    shipped = find_data("trajectories", "agentperf_like").read_bytes()
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl.gz").write_bytes(shipped)
    one, two = keys(f"workload.source={tmp_path / 'one.jsonl.gz'},{tmp_path / 'two.jsonl.gz'}", overrides=load)
    assert one == two
    (tmp_path / "d.yaml").write_text(profile % 8, encoding="utf-8")
    (before,) = keys(f"deployment={tmp_path / 'd.yaml'}")
    (tmp_path / "d.yaml").write_text(profile % 9, encoding="utf-8")
    (after,) = keys(f"deployment={tmp_path / 'd.yaml'}")
    assert before != after


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (["slo.speed=30"], "did you mean 'speed_tok_s'"),
        (["slo.speed_tok_s=30,fast"], "found 'fast'"),
        (["deployment=hgx_h20_v4pro_20tps"], "did you mean"),
        (["agents=3,4"], "sweep.ask=run"),
        (["slo.speed_tok_s.deeper=1"], "a path into a mapping"),
        ([], "sweep.vary"),
    ],
)
def test_mistakes_are_told_before_anything_runs(axes: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        plan_sweep(TINY, parse_axes(axes))


def test_a_point_that_does_not_fit_has_its_reason() -> None:
    fits, capped = plan_sweep(TINY, parse_axes(["power.cap_w=700,701"])).points
    assert fits.key
    assert not capped.key
    assert "power.cap_w; found 701" in capped.reason


def test_durations_in_words() -> None:
    assert [duration(s) for s in (0.4, 59, 61, 3599, 7325)] == ["0 s", "59 s", "1 min 1 s", "59 min 59 s", "2 h 2 min"]
