"""Profiles: what ships loads, what is wrong is refused with file, line, field, value, allowed range and the nearest valid key."""

import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from simulator import document
from simulator.catalog import find_data, folder, names
from simulator.document import read
from simulator.errors import Mistake, UserError
from simulator.hardware.load import accept_pmf, load_deployment, load_engine, load_model, load_system
from simulator.hardware.quality import QUALITIES, worst_quality

SYSTEM = find_data("systems", "hgx_h200").read_text()


def edited(tmp_path: Path, text: str, *changes: tuple[str, str]) -> Path:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def mistakes_of(path: Path) -> tuple[Mistake, ...]:
    with pytest.raises(UserError) as caught:
        load_system(path)
    return caught.value.mistakes


def test_everything_shipped_loads_and_names_itself():
    for kind, load in (("systems", load_system), ("models", load_model), ("engines", load_engine), ("deployments", load_deployment)):
        assert names(kind)
        for name in names(kind):
            loaded = load(name)
            assert loaded.name == name
            assert loaded.quality in QUALITIES
            assert all(field.source and field.unit and field.quality in QUALITIES for field in loaded.fields.values())


# Line in hgx_h200.yaml -> its replacement; field, value as found, part of the allowed range, part of the hint.
BAD = {
    "unknown key": ("tdp_w: {value: 700,", "tdp_watt: {value: 700,", "tdp_watt", "unknown key", "", "did you mean 'tdp_w'?"),
    "missing unit": ("value: 700, unit: W,", "value: 700,", "tdp_w.unit", "nothing", "W", ""),
    "wrong unit": ("value: 700, unit: W,", "value: 700, unit: kW,", "tdp_w.unit", "'kW'", "W", ""),
    "wrong type": ("value: 700, unit: W,", "value: seven hundred, unit: W,", "tdp_w.value", "'seven hundred'", "1 to 10000 W", ""),
    "number as a word": ("value: 700, unit: W,", "value: 7e2, unit: W,", "tdp_w.value", "'7e2'", "1 to 10000 W", "write 700.0"),
    "switch for a number": ("value: 700, unit: W,", "value: true, unit: W,", "tdp_w.value", "True", "a number", ""),
    "not a number": ("value: 700, unit: W,", "value: .nan, unit: W,", "tdp_w.value", "nan", "1 to 10000 W", ""),
    "infinite": ("value: 700, unit: W,", "value: .inf, unit: W,", "tdp_w.value", "inf", "1 to 10000 W", ""),
    "negative": ("value: 700, unit: W,", "value: -700, unit: W,", "tdp_w.value", "-700", "1 to 10000 W", ""),
    "out of range": ("pue: {value: 1.28,", "pue: {value: 0.9,", "pue.value", "0.9", "1 to 3", ""),
    "fraction for a count": ("gpus: {value: 8,", "gpus: {value: 8.5,", "gpus.value", "8.5", "a whole number", ""),
    "no source": ("unit: W, source: vendor datasheet,", 'unit: W, source: " ",', "tdp_w.source", "' '", "where", ""),
    "unknown quality": ('maximum", quality: datasheet', 'maximum", quality: mesured', "nameplate_w.quality", "'mesured'",
                        "datasheet, measured", "did you mean 'measured'?"),
    "unknown part": ("value: 700, unit: W,", "value: 700, units: W, unit: W,", "tdp_w.units", "unknown key", "value, unit", "mean 'unit'?"),
    "bare value": ("gpus: {value: 8, unit: GPUs, source: vendor datasheet, quality: datasheet}", "gpus: 8",
                   "gpus", "8", "{value, unit, source, quality}", ""),
    "contradiction": ("idle_w: {value: 115,", "idle_w: {value: 900,", "idle_w.value", "900", "at most tdp_w, 700 W", ""),
    "wrong notes": ("notes:\n  - One air-cooled node of 8 GPUs.", "notes: 5", "notes", "5", "a list of sentences", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_yaml_is_refused_with_its_place_and_remedy(tmp_path, kind):
    old, new, field, value, allowed, hint = BAD[kind]
    path = edited(tmp_path, SYSTEM, (old, new))
    found = next(mistake for mistake in mistakes_of(path) if mistake.field == field)
    line = path.read_text()[: path.read_text().index(new)].count("\n") + 1
    assert (found.file, found.line) == (str(path), line)
    assert value in found.value
    assert allowed in found.allowed
    assert hint in found.hint
    assert f"mine.yaml:{line}: {field}; found {found.value}" in str(found)


def test_duplicate_keys_are_refused_where_the_second_stands(tmp_path):
    path = edited(tmp_path, SYSTEM + "tdp_w: {value: 800, unit: W, source: x, quality: assumed}\n")
    (found,) = mistakes_of(path)
    first = SYSTEM[: SYSTEM.index("tdp_w")].count("\n") + 1
    assert (found.field, found.line, found.hint) == ("tdp_w", SYSTEM.count("\n") + 1, f"first on line {first}")


def test_a_missing_field_says_what_to_add(tmp_path):
    line = next(line for line in SYSTEM.splitlines() if line.startswith("pue"))
    (found,) = mistakes_of(edited(tmp_path, SYSTEM, (line, "")))
    assert (found.field, found.value) == ("pue", "nothing")
    assert found.hint == "add 'pue: {value: .., unit: 1, source: .., quality: ..}'"


def test_all_mistakes_come_at_once_in_file_order(tmp_path):
    path = edited(
        tmp_path, SYSTEM, ("gpus: {value: 8,", "gpus: {value: -8,"), ("value: 700, unit: W,", "value: 700,"), ("pue: {", "peu: {")
    )
    found = mistakes_of(path)
    assert [mistake.field for mistake in found] == ["gpus.value", "tdp_w.unit", "peu", "pue"]
    assert [mistake.line for mistake in found[:3]] == sorted(mistake.line for mistake in found[:3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpus: {value: 8", "expected ',' or '}'"),
        ("- a\n- b\n", "no mapping"),
        ("", "no mapping"),
        ("gpus: \t{", "found character"),
        ("a: &a [*a]", "an anchor that holds itself"),
    ],
)
def test_files_that_are_no_profile(tmp_path, text, words):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    (found,) = mistakes_of(path)
    assert words in found.value
    assert found.file == str(path)


def test_a_file_that_is_not_there_and_bytes_that_are_no_text(tmp_path):
    (found,) = mistakes_of(tmp_path / "none.yaml")
    assert found.value == "no readable file"
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in mistakes_of(tmp_path / "bytes.yaml")[0].value


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError) as caught:
        load_system("gb300_nvl27")
    (found,) = caught.value.mistakes
    assert found.allowed == ", ".join(names("systems"))
    assert found.hint == "did you mean 'gb300_nvl72'?"


def test_a_deployment_names_its_line_when_its_system_is_unknown(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hgx_h200_v4pro_20tps\nname: mine\nsystem: {value: hgx_h20, unit: none, source: x, quality: assumed}\n")
    with pytest.raises(UserError) as caught:
        load_deployment(path)
    (found,) = caught.value.mistakes
    assert (found.file, found.line, found.field, found.value) == (str(path), 3, "system.value", "'hgx_h20'")
    assert found.hint == "did you mean 'hgx_h200'?"


def test_extends_takes_over_fields_and_a_wrong_parent_names_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: hgx_h200\nname: mine\npue: {value: 1.1, unit: '1', source: a cold cellar, quality: assumed}\n")
    mine, base = load_system(path), load_system("hgx_h200")
    assert (mine.name, mine.pue, mine.tdp_w) == ("mine", 1.1, base.tdp_w)
    assert mine.fields["pue"].line == 3
    path.write_text("name: mine\nextends: hgx_h20\n")
    (found,) = mistakes_of(path)
    assert (found.line, found.field, found.hint) == (2, "extends", "did you mean 'hgx_h200'?")


def test_extends_in_a_circle(tmp_path):
    for name, parent in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {parent}.yaml\n")
    (found,) = mistakes_of(tmp_path / "a.yaml")
    assert (found.field, found.allowed) == ("extends", "no circle")


def test_tiers_differ_in_scheduling_only():
    scheduling = {"speed_floor_tok_s", "ttft_ceiling_s", "token_budget", "max_seqs", "prefill_interval"}
    for system in ("gb300_nvl72", "hgx_h200"):
        slow, fast = (load_deployment(f"{system}_v4pro_{tier}tps") for tier in (20, 60))
        changed = {key for key in slow.fields if slow.fields[key].value != fast.fields[key].value}
        assert changed <= scheduling
        (one,), (other,) = slow.pools, fast.pools
        assert (one.blocks_per_rank, one.law) == (other.blocks_per_rank, other.law)


def test_overrides_bare_and_whole():
    changed = load_deployment(
        "hgx_h200_v4pro_20tps", {"max_seqs": 7, "drafts": {"value": 1, "unit": "tokens", "source": "a", "quality": "measured"}}
    )
    assert (changed.pools[0].max_seqs, changed.fields["max_seqs"].quality) == (7, "assumed")
    assert changed.accept_pmf == pytest.approx((0.21, 0.79))
    with pytest.raises(UserError, match=r"overrides: max_seq; .*did you mean 'max_seqs'"):
        load_deployment("hgx_h200_v4pro_20tps", {"max_seq": 7})
    with pytest.raises(UserError, match=r"overrides: max_seqs.value; found 0; allowed: a whole number, 1 to 100000"):
        load_deployment("hgx_h200_v4pro_20tps", {"max_seqs": 0})


def test_an_inline_mapping_may_extend_with_bare_values():
    inline = load_deployment({"extends": "hgx_h200_v4pro_20tps", "name": "mine", "max_seqs": 8})
    assert (inline.name, inline.pools[0].max_seqs, inline.gpus) == ("mine", 8, 8)


@pytest.mark.parametrize(
    ("overrides", "field", "allowed"),
    [
        ({"ranks": 3}, "ranks.value", "a divisor of gpus_per_worker, 8"),
        ({"attention": "tp", "ranks": 8}, "ranks.value", "1 under tensor-parallel attention"),
        ({"ep": 4}, "ep.value", "gpus_per_worker, 8"),
        ({"workers": 10}, "workers.value", "whole systems of 72 GPUs"),
        ({"token_budget": 2}, "token_budget.value", "at least 1 + drafts = 4"),
        ({"max_context_tokens": 2_000_000}, "max_context_tokens.value", "1,048,576"),
        ({"drafts": 6}, "drafts.value", "at most 5 drafts"),
        ({"accept_means": [1.5, 2.2, 2.3]}, "accept_means.value", "never growing"),
        ({"memory_share": 0.3}, "memory_share.value", "room for a KV block"),
    ],
)
def test_layouts_that_contradict_themselves(overrides, field, allowed):
    with pytest.raises(UserError) as caught:
        load_deployment("gb300_nvl72_v4pro_20tps", overrides)
    (found,) = [mistake for mistake in caught.value.mistakes if mistake.field == field and allowed in mistake.allowed]
    assert found.value


def test_kv_pools():
    rack = load_deployment("gb300_nvl72_v4pro_20tps")
    (pool,) = rack.pools
    assert (rack.gpus, pool.pool_kind, pool.fixed_blocks) == (72, "computed", 32)  # 22 MB in blocks of 128 x 5,511 bytes
    free = 298.01e9 * 0.90 - 133.4e9 - 4.17e9
    assert pool.blocks_per_rank * rack.block_tokens * 5511.4 == pytest.approx(free * 0.41, rel=0.002)
    node = load_deployment("hgx_h200_v4pro_20tps")
    (pool,) = node.pools
    assert (pool.pool_kind, pool.fixed_blocks, pool.blocks_per_rank * node.block_tokens) == ("measured", 0, 15 * (8192 + 1024))
    assert "138,240 tokens per rank are used, as the profile gives it; memory arithmetic gives 3,8" in node.notes[-1]
    b200 = load_deployment("hgx_b200_v4pro_20tps")
    assert b200.pools[0].blocks_per_rank == 21_965_416 // 8 // 64


def test_accepted_lengths():
    assert accept_pmf((1.79, 2.27, 2.49), 3) == pytest.approx((0.21, 0.31, 0.26, 0.22))
    assert accept_pmf((1.79,), 0) == (1.0,)
    assert accept_pmf((1.79,), 2) is None
    assert accept_pmf((1.5, 2.2), 2) is None
    for drafts, mean in enumerate((1.0, 1.79, 2.27, 2.49)):
        deployment = load_deployment("gb300_nvl72_v4pro_60tps", {"drafts": drafts})
        assert deployment.accepted_length == pytest.approx(mean)
        assert sum(deployment.accept_pmf) == pytest.approx(1)


def test_results_inherit_the_worst_quality():
    assert worst_quality(["measured", "assumed", "fitted"]) == "assumed"
    assert worst_quality([]) == "datasheet"
    assert load_system("hgx_h200").quality == "assumed"  # its PUE
    assert load_model("deepseek_v4_pro").quality == "measured"  # its accepted lengths


def test_loaded_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_system("hgx_h200").tdp_w = 1.0


@pytest.mark.parametrize("kind", ["systems", "models", "engines", "deployments", "scenarios"])
def test_what_ships_reads_the_same_by_both_loaders(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = [read(name, kind, []) for name in names(kind)]
    monkeypatch.setattr(document, "SHIPPED", yaml.SafeLoader)
    assert [read(name, kind, []) for name in names(kind)] == fast


def test_only_what_ships_is_read_by_the_fast_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "SHIPPED", None)
    file = tmp_path / "mine.yaml"
    file.write_text("a: 1\n")
    outside = os.path.relpath(file.with_suffix(""), folder("systems"))
    assert read(outside, "systems", [])[1] == read(file, "systems", [])[1]
    with pytest.raises(TypeError):
        read("hgx_h200", "systems", [])
