"""The fields that a deployment's answers rest on, among those of its preset, its file and its pools. Inputs come from `load.py`."""

from collections.abc import Iterator, Mapping

from simulator.hardware.deployment import WorkerPool
from simulator.hardware.layout import PD_OPTIONS
from simulator.hardware.preset import Preset
from simulator.hardware.profile import Profile
from simulator.hardware.quality import Field
from simulator.hardware.schemas import DEPLOYMENT


def grounds(profile: Profile, preset: Preset, options: Mapping[str, Field], pools: tuple[WorkerPool, ...]) -> dict[str, Field]:
    """The fields that an answer rests on, those of pools under ``pools.NAME.``: no field that every pool
    replaces, and no option that nobody asks."""
    unused = set(_unused(profile, pools)) - set(profile.fields)
    own = [pool.fields for pool in profile.pools.values()]
    imitates = {"imitates": preset.fields["imitates"]} if "imitates" not in profile.fields else {}
    whole = {**imitates, **options, **profile.fields}
    order = [key for key in (*DEPLOYMENT, "lookahead") if key in whole and key not in unused]
    shared = {key: whole[key] for key in order if not own or not all(key in fields for fields in own)}
    return shared | {field.name: field for fields in own for field in fields.values()}


def _unused(profile: Profile, pools: tuple[WorkerPool, ...]) -> Iterator[str]:
    """Options that this layout never looks at."""
    reserves = {pool.admit_reserve for pool in pools}
    routers = {profile["router"], profile.get("decode_router", "")}
    if not any(pool.role == "prefill" for pool in pools):
        yield from PD_OPTIONS
    if not any(pool.host_blocks for pool in pools):
        yield "host_latency_s"
    if "prefix_aware" not in routers:
        yield from ("balance_calls", "balance_ratio", "match_share")
    if "input_ratio" not in reserves:
        yield from ("ratio_clip", "ratio_init", "ratio_min", "ratio_steps")
    if not reserves & {"input_ratio", "input_full"}:
        yield "max_new_tokens"
    if not any(pool.prefix_cache == "slots" for pool in pools):
        yield "slot_similarity"
    if all(pool.batch_mode == "mixed" for pool in pools):
        yield "decode_interval"
