"""Tables of what is known: profiles, their fields and what follows from them, trajectory sets. Inputs are loaded profiles."""

from collections.abc import Iterable, Sequence

from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.memory import (
    attention_flops_line,
    kv_bytes_per_token,
    kv_fixed_bytes,
    kv_read_bytes,
    parameters,
    prompt_flops_line,
    weight_bytes,
    weight_flops,
)
from simulator.hardware.model_card import ModelCard
from simulator.hardware.preset import Preset
from simulator.hardware.system import System
from simulator.hardware.weights import CASTS
from simulator.report.grounds import ground
from simulator.report.phrases import number, plain
from simulator.report.tables import Sheet
from simulator.workload.statistics import Figure
from simulator.workload.trajectory import TrajectorySet

GB = 1e9


def profiles_sheet(kind: str, profiles: Iterable[System | ModelCard | Preset | Deployment]) -> Sheet:
    """The profiles of one kind by name."""
    rows = tuple((plain(p.name), plain(p.title), plain(p.quality), str(len(p.fields))) for p in profiles)
    return Sheet(kind, ("name", "title", "worst quality", "fields"), rows, "lllr")


def fields_sheet(profile: System | ModelCard | Preset | Deployment) -> Sheet:
    """Every field of a profile as its author wrote it."""
    found = [ground(field) for field in profile.fields.values()]
    rows = tuple((g.name, g.value, g.unit, g.quality, f"{g.source}; {g.note}" if g.note else g.source) for g in found)
    return Sheet(
        f"{plain(profile.name)}: {plain(profile.title)}",
        ("field", "value", "unit", "quality", "source"),
        rows,
        "lrlll",
        " ".join(map(plain, profile.notes)),
    )


def computed_sheet(profile: ModelCard | Deployment) -> Sheet:
    """What follows from a profile's fields and is never typed in."""
    rows = _model_rows(profile) if isinstance(profile, ModelCard) else _deployment_rows(profile)
    return Sheet("Computed from these fields", ("quantity", "value", "unit"), tuple(rows), "lrl")


def _model_rows(model: ModelCard) -> list[tuple[str, str, str]]:
    count, weights = parameters(model), weight_bytes(model)
    kv, index = next(iter(model.kv_entry_bytes)), next(iter(model.index_entry_bytes), "none")
    stored = f"{kv} with {index} index" if model.attention.indexed else kv
    decode, prompt = attention_flops_line(model)[1], prompt_flops_line(model)[1]
    return [
        ("parameters", number(count.total / GB), "10^9"),
        ("active parameters", number(count.active / GB), "10^9"),
        ("weights as stored", number(weights.total / GB), "GB"),
        *[(f"weights as {cast}", number(weight_bytes(model, cast).total / GB), "GB") for cast in CASTS],
        (f"KV per token, {stored}", number(kv_bytes_per_token(model, kv, index)), "bytes"),
        (f"KV per sequence, fixed, {kv}", number(kv_fixed_bytes(model, kv) / 1e6), "MB"),
        (f"KV read per decoded token at 27,000 tokens, {stored}", number(kv_read_bytes(model, kv, index, 27_000) / 1e6), "MB"),
        ("largest useful tensor parallelism for KV", str(model.attention.kv_heads), "GPUs"),
        ("weights' FLOPs per token", number(weight_flops(model) / GB), "GFLOP"),
        ("attention's FLOPs per decoded token and 1,000 tokens of context", number(1000 * decode / GB), "GFLOP"),
        ("attention's FLOPs per prompt token and 1,000 tokens of context", number(1000 * prompt / GB), "GFLOP"),
    ]


def _deployment_rows(deployment: Deployment) -> list[tuple[str, str, str]]:
    inspired = f"inspired by {deployment.imitates}: {', '.join(deployment.inspired)} differ" if deployment.inspired else deployment.imitates
    rows = [
        ("scheduling as in", plain(inspired), ""),
        ("GPUs", str(deployment.gpus), ""),
        ("accepted length", number(deployment.accepted_length), "tokens per step"),
    ]
    for pool in deployment.pools:
        where = f"{plain(pool.name)}: " if len(deployment.pools) > 1 else ""
        rows += [(where + what, value, unit) for what, value, unit in _pool_rows(pool, deployment.block_tokens)]
    return rows


def _pool_rows(pool: WorkerPool, block_tokens: int) -> list[tuple[str, str, str]]:
    tier = [("host tier of a rank", f"{pool.host_blocks * block_tokens:,}", "tokens")] if pool.host_blocks else []
    return [
        ("role", pool.role, ""),
        ("workers x GPUs", f"{pool.workers} x {pool.gpus_per_worker}", ""),
        ("GPUs per attention rank", str(pool.gpus_per_rank), ""),
        (f"KV pool of a rank ({plain(pool.pool_kind)})", f"{pool.blocks_per_rank * block_tokens:,}", "tokens"),
        ("KV pool of a rank", f"{pool.blocks_per_rank:,}", "blocks"),
        ("KV blocks a running sequence holds whatever its length", f"{pool.fixed_blocks:,}", "blocks"),
        *tier,
    ]


def trajectories_sheet(sets: Sequence[tuple[str, TrajectorySet]]) -> Sheet:
    """The trajectory sets by name."""
    rows = tuple(
        (
            plain(name),
            f"{len(s.trajectories):,}",
            f"{sum(len(t.calls) for t in s.trajectories):,}",
            s.history,
            plain(s.provenance.get("origin", "")),
        )
        for name, s in sets
    )
    return Sheet("Trajectories", ("name", "trajectories", "calls", "history", "origin"), rows, "lrrll")


def statistics_sheet(name: str, figures: Iterable[Figure]) -> Sheet:
    """A set's figures, beside their targets where there are any."""
    rows = []
    for figure in figures:
        target, verdict = "", ""
        if figure.target is not None:
            goal = f"{figure.target.value:,g}"
            target = f"at most {goal}" if figure.target.at_most else f"{goal} ±{figure.target.tolerance:.0%}"
            verdict = "met" if figure.met else "NOT MET"
        whole = figure.value == int(figure.value)
        rows.append((figure.name, f"{int(figure.value):,}" if whole else number(figure.value), figure.unit, target, verdict))
    return Sheet(plain(name), ("figure", "value", "unit", "target", ""), tuple(rows), "lrlrl")
