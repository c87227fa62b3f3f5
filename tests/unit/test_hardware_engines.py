"""Engine presets: what each engine does, what a deployment takes over, and when it is only inspired by it."""

import pytest

from simulator.catalog import names
from simulator.errors import UserError
from simulator.hardware.load import load_deployment, load_engine
from simulator.hardware.preset import OPTIONS
from simulator.hardware.schemas import DEPLOYMENT, ENGINE, POOL, PRESET_ONLY

MIXED, SHAPE = "hgx_h200_v4pro_20tps", "gb300_nvl72_v4pro_20tps_pd"

# Option -> its value by engine, as read in their sources (docs/engines.md).
TABLE = {
    "batch_mode": {"vllm": "mixed", "sglang": "prefill_first", "trtllm": "mixed", "llamacpp": "mixed"},
    "chunk_round": {"vllm": 1, "sglang": 0, "trtllm": 0, "llamacpp": 1},
    "ranks_share_budget": {"sglang": True},
    "admit_reserve": {"vllm": "input", "sglang": "input_ratio", "trtllm": "input_full", "llamacpp": "input_full"},
    "victim": {"vllm": "last", "sglang": "fewest_output", "trtllm": "last", "llamacpp": "last"},
    "requeue": {"vllm": "front", "sglang": "tail", "trtllm": "front", "llamacpp": "front"},
    "visible": {"vllm": "scheduled", "sglang": "result", "trtllm": "result", "llamacpp": "result"},
    "prefix_cache": {"vllm": "blocks", "sglang": "blocks", "trtllm": "blocks", "llamacpp": "slots"},
    "pipeline_depth": {"vllm": 2, "sglang": 2, "trtllm": 2, "llamacpp": 1},
    "first_token": {"vllm": "decode", "sglang": "prefill", "trtllm": "prefill"},
    "kv_transfer": {"vllm": "end", "sglang": "chunk", "trtllm": "end"},
    "decode_prealloc": {"vllm": False, "sglang": True, "trtllm": False},
}


@pytest.mark.parametrize("option", TABLE)
def test_the_options_that_tell_the_engines_apart(option):
    found = {name: load_engine(name).fields[option].value for name in names("engines") if option in load_engine(name).fields}
    assert found == TABLE[option]


@pytest.mark.parametrize("name", names("engines"))
def test_a_preset_imitates_one_engine_at_one_version(name):
    engine, at, version = load_engine(name).imitates.partition("@")
    assert (engine, at) == (name, "@")
    assert version


def test_shipped_deployments_override_no_option():
    for name in names("deployments"):
        deployment = load_deployment(name)
        assert deployment.inspired == ()
        assert deployment.imitates == load_engine(deployment.engine).imitates


def test_every_option_can_be_given_and_is_of_the_preset():
    """Each option but the look-ahead, which follows from the drafts, is a field of presets, and of deployments or their pools."""
    assert set(OPTIONS) - {"lookahead"} <= set(ENGINE)
    assert set(OPTIONS) <= set(DEPLOYMENT)
    assert set(ENGINE) - set(DEPLOYMENT) == set(PRESET_ONLY) - {"imitates"}
    assert set(POOL) - set(DEPLOYMENT) == {"role"}


def test_an_engine_brings_its_whole_scheduling():
    (pool,) = load_deployment(MIXED, {"engine": "sglang"}).pools
    assert (pool.batch_mode, pool.admit_reserve, pool.requeue, pool.visible) == ("prefill_first", "input_ratio", "tail", "result")
    assert (pool.chunk_round, pool.ratio_init, pool.ratio_min, pool.ratio_steps) == (64, 0.7, 0.098, 600)  # its pages are our blocks
    (pool,) = load_deployment(MIXED).pools
    assert (pool.batch_mode, pool.admit_reserve, pool.chunk_round, pool.lookahead) == ("mixed", "input", 1, 3)


def test_what_depends_on_drafts_follows_them():
    for drafts, victim in ((0, "fewest_output"), (2, "last")):
        (pool,) = load_deployment(MIXED, {"engine": "sglang", "drafts": drafts}).pools
        assert (pool.victim, pool.lookahead) == (victim, drafts)
    (pool,) = load_deployment(MIXED, {"engine": "sglang", "victim": "fewest_output"}).pools
    assert pool.victim == "fewest_output"


def test_decode_servers_cache_prefixes_where_the_engine_does():
    for engine, caches in (("vllm", ["blocks", "blocks"]), ("sglang", ["blocks", "none"]), ("trtllm", ["blocks", "none"])):
        assert [pool.prefix_cache for pool in load_deployment(SHAPE, {"engine": engine}).pools] == caches
    everywhere = load_deployment(SHAPE, {"prefix_cache": "none"})
    assert [pool.prefix_cache for pool in everywhere.pools] == ["none", "none"]


def test_an_override_makes_it_inspired_and_a_setting_does_not():
    assert load_deployment(MIXED, {"admit_reserve": "chunk", "lookahead": 0}).inspired == ("admit_reserve", "lookahead")
    settings = {"token_budget": 512, "max_seqs": 8, "prefill_interval": 4, "long_prefill_cap": 64, "router": "round_robin"}
    assert load_deployment(MIXED, settings).inspired == ()
    assert load_deployment(MIXED, {"admit_reserve": "input", "lookahead": 3}).inspired == ()  # said again, not changed
    pools = {"decode": {"prefix_cache": "blocks"}, "prefill": {"prefix_cache": "blocks"}}
    assert load_deployment(SHAPE, {"pools": pools}).inspired == ("pools.decode.prefix_cache",)


def test_a_switch_still_stands_for_the_prefix_cache():
    for switch, word, inspired in ((True, "blocks", ()), (False, "none", ("prefix_cache",))):
        deployment = load_deployment(MIXED, {"prefix_cache": switch})
        assert (deployment.pools[0].prefix_cache, deployment.inspired) == (word, inspired)
        assert deployment.fields["prefix_cache"].value == word


def test_a_file_from_before_the_presets_reads_as_ever(tmp_path):
    """It says what it imitates and all of its options; the engine follows."""
    path = tmp_path / "old.yaml"
    path.write_text(
        f"extends: {MIXED}\nname: old\n"
        "imitates: {value: vllm@0.32.0, unit: none, source: x, quality: assumed}\n"
        "prefix_cache: {value: true, unit: none, source: x, quality: assumed}\n"
        "lookahead: {value: 3, unit: tokens, source: x, quality: assumed}\n"
    )
    old, new = load_deployment(path), load_deployment(MIXED)
    assert (old.engine, old.inspired, old.pools) == (new.engine, (), new.pools)


def test_what_nobody_looks_at_is_no_ground_of_an_answer():
    mixed, pools = load_deployment(MIXED), load_deployment(SHAPE)
    assert not {"kv_transfer", "kv_link_efficiency", "host_latency_s", "ratio_init", "max_new_tokens", "balance_calls"} & set(mixed.fields)
    assert {"kv_transfer", "kv_link_efficiency", "max_new_tokens"} <= set(pools.fields)
    assert "host_latency_s" in load_deployment(MIXED, {"host_tier_bytes": 1e9}).fields
    assert "balance_calls" in load_deployment(MIXED, {"router": "prefix_aware"}).fields


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"engine": "vlm"}, "engine.value", "did you mean 'vllm'?"),
        ({"engine": "sglang", "imitates": "vllm@0.32.0"}, "imitates.value", "sglang@version, as engine says"),
        ({"victim": "newest"}, "victim.value", "last, fewest_output"),
        ({"lookahead_per_draft": 1}, "lookahead_per_draft", ""),
        ({"prefix_cache": "block"}, "prefix_cache.value", "did you mean 'blocks'?"),
    ],
)
def test_mistakes_about_engines(changes, field, words):
    with pytest.raises(UserError) as caught:
        load_deployment({"extends": MIXED, **changes})
    found = next(mistake for mistake in caught.value.mistakes if mistake.field == field)
    assert words in f"{found.allowed} {found.hint}"


def test_a_deployment_without_engine_derives_it_and_a_wrong_one_names_the_presets(tmp_path):
    from simulator.catalog import find_data

    lines = find_data("deployments", MIXED).read_text().splitlines()
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(line for line in lines if not line.startswith("engine:")))
    derived = load_deployment(path)
    assert (derived.engine, derived.fields["engine"].quality) == ("vllm", "estimated")
    path.write_text(path.read_text() + "\nimitates: {value: vlm@1, unit: none, source: x, quality: assumed}\n")
    with pytest.raises(UserError, match=r"mine.yaml:\d+: imitates.value; found 'vlm@1'.*did you mean 'vllm'\?"):
        load_deployment(path)


def test_a_preset_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: vllm\nimitates: {value: mine@1, unit: none, source: x, quality: assumed}\n"
                    "requeue: {value: tail, unit: none, source: x, quality: assumed}\n")  # fmt: skip
    deployment = load_deployment(MIXED, {"engine": str(path)})
    assert (deployment.engine, deployment.imitates, deployment.inspired) == ("vllm", "mine@1", ())
    assert deployment.pools[0].requeue == "tail"
