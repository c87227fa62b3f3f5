"""Hand-made answers for the report's tests: invented, smooth, deterministic values of every field; no simulation behind them."""

from dataclasses import replace

import numpy as np
from fake_pools import pair, pool_summary

from simulator.capacity.results import Answer, Comparison, Point, PowerBases, Series, Sprint, Summary

TIERS = ((20.0, 10.0), (60.0, 5.0))
SYSTEMS = {"GB300 NVL72": (32, 900.0, 1500), "HGX H200": (8, 480.0, 42)}


def slo(speed: float, ttft: float) -> dict[str, object]:
    return {"speed_tok_s": speed, "speed_percentile": 25, "ttft_s": ttft, "ttft_percentile": 95}


def curve(agents: float, room: float, speed: float, ttft: float) -> tuple[float, float]:
    """P25 speed and P95 TTFT of an invented system that holds about ``room`` agents."""
    load = agents / room
    return speed * 3.1 / (1 + 2.1 * load**0.8), ttft * (0.06 + 0.4 * load**2.2)


def summary(system: str, agents: int, speed: float, ttft: float, gpus: int, watts: float, quality: str = "assumed") -> Summary:
    rng = np.random.default_rng(agents)
    bins = 60
    time = np.arange(bins) * 10.0
    wave = 1 + 0.08 * np.sin(time / 40)
    ttfts = np.sort(rng.lognormal(np.log(ttft / 3), 0.65, 3000))
    speeds = np.sort(rng.normal(speed * 1.25, speed * 0.3, 3000).clip(1.0))
    return Summary(
        system=system, model="DeepSeek V4 Pro", deployment=f"{system.lower().replace(' ', '_')}_v4pro", agents=agents, gpus=gpus,
        seeds=(1, 2, 3), quality=quality, window_s=600.0, requests=3000, trajectories=120,
        ttft_s={"mean": float(ttfts.mean()), **{f"p{p}": float(np.percentile(ttfts, p)) for p in (50, 90, 95)}},
        output_speed_tok_s={"p25": float(np.percentile(speeds, 25)), "p50": float(np.percentile(speeds, 50)), "mean": float(speeds.mean())},
        tpot_s={"mean": 0.021, "p50": 0.02, "p90": 0.03}, e2e_speed_tok_s={"p25": 14.0, "p50": 22.0, "mean": 23.0},
        output_tok_s=agents * 9.3, logical_tok_s=agents * 690.0, cache_hit=0.941, cache_hit_possible=0.972, preemptions=12,
        energy_j=watts * gpus * 600.0, watts_per_gpu=PowerBases(watts, watts * 1.4, watts * 1.9, watts * 2.1),
        step_shares={"launch_floor": 0.21, "weights": 0.24, "kv_read": 0.13, "decode_compute": 0.08, "prefill_compute": 0.29, "idle": 0.05},
        blocked_shares={"kv_memory": 0.18, "seats": 0.0, "token_budget": 0.06}, utilisation=0.95, decode_batch_per_rank=14.2,
        goodput_agents=agents * 0.93, goodput_output_tok_s=agents * 8.9, limiter="prefill_compute", cut_trajectories=0, notes=(),
        series=Series(time, agents * 0.4 * wave, agents * 0.05 * wave, 0.7 * wave, np.full(bins, 0.94), watts * wave, agents * 9.3 * wave),
        ttft_samples_s=ttfts, speed_samples_tok_s=speeds, slo=slo(speed, ttft), engine="imitates vllm@0.32.0",
        pools=(pool_summary("mixed", "mixed", gpus, 0.95, "prefill_compute"),), binding_pool="mixed", calls_in_flight=agents * 0.6,
        stages_s={name: times(t) for name, t in (("prefill_queue", 0.9), ("prefill", 1.1), ("decode", 9.0))},
        ttft_stages_s={"mean": {"prefill_queue": 0.9, "prefill": 1.1}, "tail": {"prefill_queue": 6.0, "prefill": 2.0}},
        speed_stages_s={"mean": {"decode": 9.0}, "tail": {"decode": 3.0}},
    )  # fmt: skip


def times(mean_s: float) -> dict[str, float]:
    return {"mean": mean_s, "p50": 0.8 * mean_s, "p95": 3 * mean_s}


MOVED = {
    "prefill_queue": 1.2,
    "prefill": 0.8,
    "decode_slot": 0.4,
    "link_queue": 0.001,
    "transfer": 0.01,
    "first_decode": 0.03,
    "decode": 8.0,
}


def in_two_pools(point: Summary, wait: float = 1.0) -> Summary:
    """The point served by 24 prefill and 8 decode GPUs; ``wait`` scales the prefill queue."""
    spent = MOVED | {"prefill_queue": 1.2 * wait}
    ahead = {name: seconds for name, seconds in spent.items() if name != "decode"}
    return replace(
        point, pools=pair({"utilisation": 0.93}), binding_pool="prefill", limiter="prefill_compute",
        stages_s={name: times(t) for name, t in spent.items()},
        ttft_stages_s={"mean": ahead, "tail": {name: 3 * t for name, t in ahead.items()}}, binding="ttft",
        speed_stages_s={"mean": {"decode": 8.0}, "tail": {"decode": 2.0}},
        why="the prefill pool binds: its 24 GPUs step 93% of the time (decode 80%); prefill takes 91% of the busy time",
    )  # fmt: skip


def split(whole: Answer) -> Answer:
    """The answer of a deployment that moves its calls from a prefill to a decode pool."""
    assert whole.held is not None
    assert whole.broken is not None
    held, broken = in_two_pools(whole.held), in_two_pools(whole.broken, wait=2.0)
    sentence = f"At {broken.agents} agents P95 TTFT is 10.4 s against 10: {broken.why}."
    return replace(whole, held=held, broken=broken, binding_pool="prefill", binding="ttft", limiter="prefill_compute", sentence=sentence)


def answer(system: str = "GB300 NVL72", tier: int = 0) -> Answer:
    speed, ttft = TIERS[tier]
    gpus, watts, room = SYSTEMS[system]
    room = round(room / (1 + 2.2 * tier))
    sizes = [2**k for k in range(1, 13) if 2**k < 2.5 * room] + [room - 1, room, room + 1, round(room * 1.2)]
    points = []
    for agents in sizes:
        for seed in (1, 2, 3):
            s, t = curve(agents, room * (1 + 0.01 * seed), speed, ttft)
            points.append(Point(agents, seed, s >= speed and t <= ttft, s, t, 300 + agents))
    held = summary(system, room, speed, ttft, gpus, watts)
    per_mw = PowerBases(*(room / gpus / (watts * k) * 1e6 for k in (1.0, 1.4, 1.9, 2.1)))
    names = ("accelerator", "tdp", "nameplate", "facility")
    return Answer(
        system=system, model=held.model, deployment=held.deployment, slo=slo(speed, ttft), agents_held=room,
        interval=(round(room * 0.96), round(room * 1.03)), interval_kind="lowest and highest of 3 seeds", gpus=gpus,
        agents_per_gpu=room / gpus, agents_per_mw=per_mw,
        agents_per_mw_interval={n: (getattr(per_mw, n) * 0.95, getattr(per_mw, n) * 1.04) for n in names},
        accelerator_w_per_gpu=watts, cache_hit=0.941, limiter=held.limiter, binding="speed", knee_agents=round(room * 0.8),
        knee_distance=1.25, monotone=True, quality="assumed", seeds=(1, 2, 3), goodput_agents=room * 0.93,
        goodput_output_tok_s=room * 8.9, points=tuple(points), held=held,
        broken=replace(held, agents=room + 1),
        sentence=f"{system}: prefill takes 29 % of the step time, and first calls wait 18 % of the time for KV memory.",
    )  # fmt: skip


def comparison() -> Comparison:
    answers = tuple(answer(system, tier) for tier in range(len(TIERS)) for system in SYSTEMS)
    sprints = (
        Sprint("GB300 NVL72", "gb300", 0.31, 128.0, 41_000.0, 1281.0, 3072),
        Sprint("HGX H200", "h200", 0.84, 141.0, 2_100.0, 262.0, 256),
    )
    ratios = []
    for tier, (speed, ttft) in enumerate(TIERS):
        first, other = answers[2 * tier], answers[2 * tier + 1]
        row = {"tier": f"{speed:g} tok/s & {ttft:g} s", "system": other.system, "against": first.system}
        row["agents_per_gpu"] = other.agents_per_gpu / first.agents_per_gpu
        for name in ("accelerator", "tdp", "nameplate", "facility"):
            row[f"agents_per_mw_{name}"] = getattr(other.agents_per_mw, name) / getattr(first.agents_per_mw, name)
        ratios.append(row | {"sprint_single": 141 / 128, "sprint_peak": 262 / 1281})
    return Comparison(answers, sprints, tuple(ratios))
