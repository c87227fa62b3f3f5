"""An evidence file made from laws that are known, with noise: what the fits of measure-gpu must find again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simulator.calibration.fit_power import NAMES, share_of_tdp
from simulator.calibration.gpu_cells import Cell, size_text
from simulator.calibration.gpu_evidence import Row
from simulator.calibration.gpu_plan import make_plan
from simulator.calibration.gpu_shapes import shapes
from simulator.hardware.load import load_model, load_system
from simulator.hardware.system import System

ABOUT = {"date": "2026-11-25", "gpu": "NVIDIA H200 (synthetic)", "driver": "1", "torch": "0", "cuda": "0", "dry_run": "no"}
TIMES: Mapping[str, Mapping[str, float]] = {
    "gemm": {"floor_s": 4e-6, "weights": 1.15, "gemm_bf16": 1.4, "gemm_fp8": 1.6},
    "experts": {"floor_s": 9e-6, "weights": 1.35, "gemm_bf16": 1.7},
    "decode attention": {"floor_s": 12e-6, "kv": 1.5},
    "prefill attention": {"floor_s": 10e-6, "attention": 1.8},
}
POWER = {"power_floor": 0.45, "power_hbm": 0.33, "power_flop": 0.61, "power_rise": 2.4}
IDLE_W = {"bare": 78.0, "context": 101.0, "allocated": 118.0}
LINK_BYTES_PER_S = 53e9


def h200() -> System:
    return load_system("hgx_h200")


def synthetic(noise: float, seed: int = 1) -> list[Row]:
    """Every cell of the whole plan on an H200 whose laws are `TIMES` and `POWER`, off by normal noise of so much, relative."""
    models = [shapes(load_model(name)) for name in ("deepseek_v4_pro", "deepseek_r1", "gpt_oss_120b")]
    random, system = np.random.default_rng(seed), h200()
    return [_row(visit.cell, visit.number, system, *(1 + noise * random.standard_normal(2))) for visit in make_plan(models, 3600).visits]


def _row(cell: Cell, visit: int, system: System, time_noise: float, watt_noise: float) -> Row:
    seconds = _seconds(cell, system) * time_noise
    busy = cell.size.get("busy_percent", 100) / 100
    moved = cell.bytes * (3 if cell.size.get("shared") else 1)
    rate = busy / seconds if seconds else 0.0
    if cell.kind == "idle":
        watts = IDLE_W[cell.part]
    else:
        law = np.array([POWER[name] for name in NAMES])
        um, uc = moved * rate / system.hbm_bytes_per_s, cell.flops * rate / system.flops(cell.dtype)
        watts = system.tdp_w * float(share_of_tdp(law, np.array([um]), np.array([uc]), IDLE_W["allocated"] / system.tdp_w)[0])
    known = seconds or None
    return Row(
        cell=cell.id, visit=visit, kind=cell.kind, part=cell.part, model=cell.model, dtype=cell.dtype, size=size_text(cell.size),
        status="ok", message="", how="made up", calls=1000, window_s=3.0, time_s=known, time_low_s=known, time_high_s=known,
        flops=cell.flops, bytes=cell.bytes, moved_bytes=moved, bytes_per_s=moved * rate, flop_per_s=cell.flops * rate,
        watts=watts * watt_noise, watts_how="energy counter", sm_mhz=1980.0, memory_mhz=3201.0, temperature_c=50.0, throttle="",
        begun="2026-11-25T12:00:00+00:00",
    )  # fmt: skip


def _seconds(cell: Cell, system: System) -> float:
    memory, bandwidth = cell.bytes / system.hbm_bytes_per_s, 1.25
    match cell.kind:
        case "idle":
            return 0.0
        case "launch":
            return 6e-6 if cell.part == "eager" else 1.5e-6
        case "host":
            return cell.bytes / LINK_BYTES_PER_S
        case "copy":
            return bandwidth * memory
        case "decode" | "prefill":
            law = TIMES[f"{cell.kind} attention"]
        case _:
            law = TIMES["experts" if cell.kind == "experts" else "gemm"]
    work = cell.flops / system.flops(cell.dtype)
    over = law.get("weights", law.get("kv", 0.0))
    return law["floor_s"] + over * memory + law.get(f"gemm_{cell.dtype}" if cell.kind != "prefill" else "attention", 0.0) * work


def damaged(rows: Sequence[Row]) -> list[Row]:
    """The same with what happens: every fifth cell without watts, every seventh failed, and a second visit to every third."""
    found: list[Row] = []
    for place, row in enumerate(rows):
        lost = row.kind not in ("idle", "host")
        if lost and place % 7 == 0:
            found.append(
                replace(row, status="out_of_memory", message="no room", time_s=None, watts=None, bytes_per_s=None, flop_per_s=None)
            )
        else:
            found.append(replace(row, watts=None, watts_how="") if lost and place % 5 == 0 else row)
        if place % 3 == 0:
            found.append(replace(row, visit=row.visit + 10))
    return found
