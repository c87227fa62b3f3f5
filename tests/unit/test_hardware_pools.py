"""Pools of a deployment: the shipped shapes, merging and overriding, and every contradiction refused with file, field and line."""

from pathlib import Path

import pytest

from simulator.catalog import find_data, names
from simulator.errors import Mistake, UserError
from simulator.hardware.deployment import Deployment
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import kv_bytes_per_token, kv_share, weight_bytes_per_gpu

SHAPE = "gb300_nvl72_v4pro_20tps_pd"


def shape_of(deployment: Deployment) -> list[tuple[str, int, int, int, int]]:
    return [(pool.role, pool.workers, pool.gpus_per_worker, pool.ep, pool.max_seqs) for pool in deployment.pools]


@pytest.mark.parametrize(
    ("name", "gpus", "shape"),
    [
        (SHAPE, 32, [("prefill", 6, 4, 4, 128), ("decode", 1, 8, 8, 192)]),
        ("gb300_nvl72_v4pro_60tps_pd", 40, [("prefill", 6, 4, 4, 128), ("decode", 1, 16, 16, 32)]),
        ("gb300_nvl72_v4pro_3p1d", 40, [("prefill", 3, 8, 8, 128), ("decode", 1, 16, 16, 32)]),
        ("gb300_nvl72_v4pro_5p1d", 56, [("prefill", 5, 8, 8, 128), ("decode", 1, 16, 16, 96)]),
        ("gb300_nvl72_v4pro_1p1d", 40, [("prefill", 1, 8, 8, 128), ("decode", 1, 32, 32, 4)]),
        ("gb200_nvl72_v4pro_20tps_pd", 32, [("prefill", 3, 8, 8, 1024), ("decode", 1, 8, 8, 512)]),
        ("hgx_b300_v4pro_20tps", 8, [("mixed", 1, 8, 8, 256)]),
        ("mi355x_v4pro_20tps", 8, [("mixed", 1, 8, 8, 256)]),
        ("hgx_h200_v4pro_20tps_sglang", 8, [("mixed", 1, 8, 8, 32)]),
        ("hgx_b200_v4pro_20tps_host", 8, [("mixed", 1, 8, 8, 1024)]),
    ],
)
def test_the_published_shapes(name, gpus, shape):
    deployment = load_deployment(name)
    assert (deployment.gpus, shape_of(deployment)) == (gpus, shape)
    assert deployment.disaggregated is (len(shape) == 2)


@pytest.mark.parametrize("name", names("deployments"))
def test_memory_of_every_pool_fits(name):
    """Weights, reserve and the KV pool stay within HBM, a prompt of 131K tokens fits every pool, host tiers fit their hosts."""
    deployment = load_deployment(name)
    system, model = load_system(deployment.system), load_model(deployment.model)
    whole_block = deployment.block_tokens * kv_bytes_per_token(model, deployment.kv_type, deployment.index_type)
    for pool in deployment.pools:
        tp = pool.gpus_per_worker if pool.attention == "tp" else 1
        per_block = whole_block * kv_share(model, tp)  # a GPU holds its KV heads
        weights = weight_bytes_per_gpu(model, ep=pool.ep, tp=tp, weight_type=deployment.weight_type)
        assert weights + pool.blocks_per_rank * per_block < 0.98 * system.hbm_bytes
        assert (pool.blocks_per_rank - pool.fixed_blocks) * deployment.block_tokens >= 131_072
        assert pool.role == "prefill" or pool.max_seqs * pool.fixed_blocks < pool.blocks_per_rank
        assert pool.host_blocks * per_block * system.gpus <= (system.host_bytes or 0)


def test_each_pool_has_the_kv_memory_that_its_own_weights_leave():
    deployment = load_deployment(SHAPE)
    for pool, weights in zip(deployment.pools, (237.6e9, 133.4e9), strict=True):
        free = 298.01e9 * 0.90 - weights - 4.17e9
        assert pool.blocks_per_rank * 128 * 5511.4 == pytest.approx(0.41 * free, rel=0.01)
        assert (pool.pool_kind, pool.fixed_blocks) == ("computed", -(-22_041_600 // (128 * 5511)))
    assert [note.split(":")[0] for note in deployment.notes[-2:]] == ["prefill", "decode"]


def test_a_host_tier_holds_its_bytes_per_gpu_in_blocks():
    """Under attention-DP a rank is a GPU; under TP all GPUs hold the same blocks."""
    for name in ("hgx_b200_v4pro_20tps_host", "hgx_h200_v4pro_20tps_sglang"):
        (pool,) = load_deployment(name).pools
        assert pool.host_blocks == 128 * 2**30 // (64 * 5511.4375)
    assert load_deployment("hgx_b200_v4pro_20tps").pools[0].host_blocks == 0


def test_prefill_pools_do_not_draft_or_pipeline():
    prefill, decode = load_deployment(SHAPE).pools
    assert (prefill.pipeline_depth, prefill.lookahead) == (1, 0)
    assert (decode.pipeline_depth, decode.lookahead) == (2, 3)
    assert load_deployment(SHAPE).accepted_length == pytest.approx(2.49)


def test_pools_take_what_they_do_not_say_from_the_deployment():
    deployment = load_deployment(SHAPE, {"host_s": 1e-3, "pools": {"decode": {"host_s": 4e-3, "workers": 2}}})
    assert [pool.law.host_s for pool in deployment.pools] == [1e-3, 4e-3]
    assert deployment.gpus == 40
    assert deployment.fields["pools.decode.workers"].quality == "assumed"
    assert deployment.fields["pools.decode.workers"].name == "pools.decode.workers"
    assert deployment.fields["pools.prefill.workers"].quality == "datasheet"


def test_a_field_that_every_pool_replaces_is_no_ground_of_an_answer():
    both = load_deployment("gb300_nvl72_v4pro_3p1d", {"host_s": 1e-3})
    assert "host_s" in both.fields
    replaced = load_deployment("gb300_nvl72_v4pro_3p1d", {"pools": {"prefill": {"host_s": 1e-3}, "decode": {"host_s": 1e-3}}})
    assert "host_s" not in replaced.fields


def test_extending_merges_pools_by_name_and_null_drops_one():
    inline = load_deployment({"extends": SHAPE, "pools": {"decode": {"max_seqs": 64}, "spare": {"role": "mixed", "gpus_per_worker": 8,
                              "ranks": 8, "ep": 8, "workers": 1, "max_seqs": 16, "token_budget": 4096}}})  # fmt: skip
    assert [pool.name for pool in inline.pools] == ["prefill", "decode", "spare"]
    assert [pool.max_seqs for pool in inline.pools] == [128, 64, 16]
    mixed = load_deployment({"extends": SHAPE, "pools": {"prefill": None, "decode": {"role": "mixed"}}})
    assert (mixed.disaggregated, shape_of(mixed)) == (False, [("mixed", 1, 8, 8, 192)])


def test_a_mixed_deployment_becomes_pools():
    pools = {"prefill": {"role": "prefill", "workers": 6}, "decode": {"role": "decode", "workers": 3}}
    deployment = load_deployment("gb300_nvl72_v4pro_20tps", {"pools": pools})
    assert shape_of(deployment) == [("prefill", 6, 8, 8, 192), ("decode", 3, 8, 8, 192)]
    assert "workers" not in deployment.fields


def test_a_measured_pool_can_be_left_for_the_computed_one():
    (pool,) = load_deployment("hgx_h200_v4pro_20tps", {"kv_pool_tokens": 0}).pools
    assert (pool.pool_kind, pool.blocks_per_rank * 64) == ("computed", 3_810_048)


# What is done to the shipped shape -> field, part of the allowed range or hint.
MISTAKES = {
    "unknown pool key": ({"decode": {"max_seq": 3}}, "pools.decode.max_seq", "did you mean 'max_seqs'?"),
    "shared key in a pool": ({"decode": {"block_tokens": 64}}, "pools.decode.block_tokens", "one value for all pools"),
    "wrong value": ({"decode": {"workers": 0}}, "pools.decode.workers.value", "a whole number, 1 to"),
    "prefill without decode": ({"decode": None}, "pools.prefill.role.value", "a decode pool beside it"),
    "decode without prefill": ({"prefill": None}, "pools.decode.role.value", "a prefill pool beside it"),
    "unknown role": ({"decode": {"role": "both"}}, "pools.decode.role.value", "mixed, prefill, decode"),
    "no role": ({"more": {"workers": 1}}, "pools.more.role", "add 'role:"),
    "width": ({"decode": {"ep": 4}}, "pools.decode.ep.value", "gpus_per_worker, 8"),
    "ranks": ({"prefill": {"ranks": 3}}, "pools.prefill.ranks.value", "a divisor of gpus_per_worker, 4"),
    "beyond the rack": ({"prefill": {"workers": 17}}, "pools.decode.workers.value", "the pools have 76 together"),
    "pipelined prefill": ({"prefill": {"pipeline_depth": 2}}, "pools.prefill.pipeline_depth.value", "1 in a prefill pool"),
    "slots": ({"decode": {"prefix_cache": "slots"}}, "pools.decode.prefix_cache.value", "none or blocks in a decode pool"),
    "budget below a chunk unit": ({"decode": {"token_budget": 64}}, "pools.decode.token_budget.value", "at least chunk_round, 128"),
    "no memory": ({"prefill": {"memory_share": 0.8}}, "pools.prefill.memory_share.value", "room for a KV block"),
    "host tier beyond the host": ({"decode": {"host_tier_bytes": 3e12}}, "pools.decode.host_tier_bytes.value", "at most the host memory"),
    "ratio upside down": ({"decode": {"ratio_min": 0.9}}, "pools.decode.ratio_min.value", "at most ratio_init"),
    "no mapping": ({"decode": 3}, "pools.decode", "a mapping of fields"),
}  # fmt: skip


def found_in(error: UserError, field: str) -> Mistake:
    return next(mistake for mistake in error.mistakes if mistake.field == field)


@pytest.mark.parametrize("kind", MISTAKES)
def test_contradictions_are_refused_with_their_field(kind):
    pools, field, words = MISTAKES[kind]
    with pytest.raises(UserError) as caught:
        load_deployment({"extends": SHAPE, "pools": pools})
    found = found_in(caught.value, field)
    assert words in f"{found.allowed} {found.hint}"
    assert found.value


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"decode_prealloc": False, "kv_transfer": "chunk"}, "decode_prealloc.value", "decode_prealloc true"),
        ({"kv_transfer": "chunk"}, "kv_transfer.value", "decode_prealloc true"),
        ({"pools": {"decode": {"workers": 15}}}, "kv_link.value", "scale_out or host: 144 GPUs"),
        ({"engine": "llamacpp", "drafts": 0, "prefix_cache": "none"}, "first_token", "knows no prefill and decode pools"),
        ({"pools": {}}, "pools", "a mapping of pool names"),
    ],
)  # fmt: skip
def test_transfers_that_cannot_be(changes, field, words):
    with pytest.raises(UserError) as caught:
        load_deployment({"extends": SHAPE, **changes})
    found = found_in(caught.value, field)
    assert words in f"{found.allowed} {found.hint}"


def test_several_racks_over_the_network():
    racks = load_deployment(SHAPE, {"kv_link": "scale_out", "pools": {"decode": {"workers": 15}}})
    assert racks.gpus == 144


def test_slots_go_without_drafts_and_host_tier():
    base = {"extends": "hgx_h200_v4pro_20tps", "engine": "llamacpp", "host_tier_bytes": 1e9}
    with pytest.raises(UserError) as caught:
        load_deployment(base)
    assert "drafts are not modelled with prefix_cache slots" in found_in(caught.value, "drafts.value").allowed
    cache = found_in(caught.value, "prefix_cache.value")
    assert (cache.allowed, cache.file) == ("none or blocks, with a host tier or tails", "engines/llamacpp.yaml")
    slots = load_deployment(base | {"host_tier_bytes": 0, "drafts": 0})
    assert (slots.pools[0].prefix_cache, slots.first_token, slots.kv_link_latency_s) == ("slots", "prefill", 0.0)


def test_mistakes_in_a_file_name_file_and_line(tmp_path: Path):
    text = find_data("deployments", SHAPE).read_text()
    for old, new in (
        ("    role: {value: decode,", "    role: {value: decoder,"),
        ("    max_seqs: {value: 128,", "    max_seats: {value: 128,"),
        (
            "    ep: {value: 8, unit: GPUs,",
            "    drafts: {value: 1, unit: tokens, source: x, quality: assumed}\n    ep: {value: 8, unit: GPU,",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_deployment(path)
    at = {mistake.field: mistake for mistake in caught.value.mistakes}
    assert list(at) == [
        "pools.prefill.max_seats",
        "pools.decode.drafts",
        "pools.decode.role.value",
        "pools.decode.ep.unit",
        "pools.prefill.max_seqs",
    ]
    assert {mistake.file for mistake in at.values()} == {str(path)}
    for field, line in (("pools.prefill.max_seats", "    max_seats:"), ("pools.decode.role.value", "    role: {value: decoder"),
                        ("pools.decode.ep.unit", "    ep: {value: 8"), ("pools.prefill.max_seqs", "  prefill:")):  # fmt: skip
        assert text.splitlines()[at[field].line - 1].startswith(line), field


def test_a_pool_twice_is_refused(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {SHAPE}\npools:\n  decode: {{}}\n  decode: {{}}\n")
    with pytest.raises(UserError, match=r"mine.yaml:4: pools.decode; found the same key twice"):
        load_deployment(path)
