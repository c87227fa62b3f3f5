"""The power law of one GPU, as the integers that both engines add up, and the four named power bases.

Inputs come from a system profile; the form is ``P = min(cap, idle + TDP * rise * L, TDP * (p0 + L))`` with ``L = pm * um + pc * uc``, where
``um`` and ``uc`` are the achieved shares of peak HBM bandwidth and peak FLOPs in a step. So energy is the least of three sums, each linear
in the step's time, bytes and FLOPs. A cap below the TDP also slows the arithmetic of a step that wants more.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.deployment import Deployment, WorkerPool
from simulator.hardware.memory import prompt_flops_line, weight_flops
from simulator.hardware.model_card import ModelCard
from simulator.hardware.step_law import FRACTION_BITS, gpu_kv_read_line, streamed_bytes
from simulator.hardware.system import System
from simulator.hardware.unknown import known
from simulator.units import PS_PER_S, to_ps

OUT_OF_REACH_MW = 10**8
"""Where no light-load line is wanted, it starts here."""

UNKNOWN_MW = -1
"""Idle power of a GPU whose watts nobody knows."""

FULL_CLOCK = np.full(1, 1 << FRACTION_BITS, np.int64)
"""The table of a pool without a cap: nothing is slowed."""

BASES = ("accelerator", "tdp", "nameplate", "facility")
"""The four bases on which every power figure is given (docs/power.md)."""


class PowerLaw(NamedTuple):
    """Integer coefficients of the energy that each GPU of a rank draws in one step.

    ``*_hbm_*`` and ``*_flop_*`` are the times in which the step's bytes and FLOPs would pass at the peak rates::

        hbm_ps  = shared_hbm_ps[min(q, len - 1)] + seq_hbm_ps * b + (ctx_hbm_fp * ctx >> 10)
        flop_ps = token_flop_ps * q_r + (pair_flop_fp * pairs >> 11)
        load_pj = hbm_mw * hbm_ns + flop_mw * flop_ns                                            with x_ns = x_ps // 1000
        want_pj = min(floor_mw * t_ns + load_pj, light_mw * t_ns + (load_pj >> 10) * rise_fp)
        uj      = gpus_per_rank * min(want_pj, cap_mw * t_ns) // 1_000_000

    where ``q`` counts the query tokens of all ranks, ``q_r`` those of this rank, and ``b``, ``ctx``, ``pairs`` are as in `StepLaw`.

    ``slow_fp[w]`` is by how much, in 1,024ths, the arithmetic of a rank (its terms per decode token, prefill token and pair) takes longer
    when each of its GPUs wants ``w`` watts (``want_pj // t_ns // 1000``, at most the last entry) in the step at full clock; one entry: no
    cap.
    """

    floor_mw: int
    hbm_mw: int
    flop_mw: int
    cap_mw: int
    idle_mw: int
    gpus_per_rank: int
    shared_hbm_ps: NDArray[np.int64]
    seq_hbm_ps: int
    ctx_hbm_fp: int
    token_flop_ps: int
    pair_flop_fp: int
    light_mw: int = OUT_OF_REACH_MW
    rise_fp: int = 0
    slow_fp: NDArray[np.int64] = FULL_CLOCK


def power_law(system: System, model: ModelCard, deployment: Deployment, pool: WorkerPool) -> PowerLaw:
    """Derive the integer power law of one GPU of a pool (docs/power.md), under the cap that the system has, else its TDP.

    Under tensor parallelism a rank's FLOPs are spread over its GPUs, while each of them reads its KV heads, or all KV where there is one.
    FLOPs are taken against the dense peak of the deployment's ``compute_type``; those of draft passes are left out (about 2 %).
    """
    if not known(system, model):
        return PowerLaw(0, 0, 0, 0, UNKNOWN_MW, pool.gpus_per_rank, np.zeros(1, np.int64), 0, 0, 0, 0)
    bandwidth, flops = system.hbm_bytes_per_s, system.flops(deployment.compute_type) * pool.gpus_per_rank
    fixed_read, read_per_token = gpu_kv_read_line(model, deployment, pool)
    fixed_flops, flops_per_pair = prompt_flops_line(model)
    capped_w = system.tdp_w if system.cap_w is None else system.cap_w
    return PowerLaw(
        floor_mw=round(1000 * system.tdp_w * system.power_floor),
        hbm_mw=round(1000 * system.tdp_w * system.power_hbm),
        flop_mw=round(1000 * system.tdp_w * system.power_flop),
        cap_mw=round(1000 * capped_w),
        idle_mw=round(1000 * system.idle_w),
        gpus_per_rank=pool.gpus_per_rank,
        shared_hbm_ps=np.rint(streamed_bytes(model, deployment, pool) / bandwidth * PS_PER_S).astype(np.int64),
        seq_hbm_ps=to_ps(fixed_read / bandwidth),
        ctx_hbm_fp=to_ps(read_per_token / bandwidth * 2**FRACTION_BITS),
        token_flop_ps=to_ps((weight_flops(model) + fixed_flops) / flops),
        pair_flop_fp=to_ps(flops_per_pair / flops * 2**FRACTION_BITS),
        light_mw=round(1000 * system.idle_w),
        rise_fp=round(system.power_rise * 2**FRACTION_BITS),
        slow_fp=slowing(capped_w, system.tdp_w),
    )


def idle_w(power: PowerLaw) -> float:
    """Watts of a GPU with no step to run; nan where nobody knows, which makes all that is added to it unknown."""
    return math.nan if power.idle_mw == UNKNOWN_MW else power.idle_mw / 1000


CLOCK_FREE, CLOCK_POWER, LOWEST_CLOCK = 0.25, 2.4, 0.5
"""What a cap does to clocks (our judgement): a quarter of the TDP does not follow them, the rest goes with their 2.4th power, and they do
not fall below half."""


def slowing(cap_w: float, tdp_w: float) -> NDArray[np.int64]:
    """`PowerLaw.slow_fp` for a cap: full over lowered clock, by the whole watts that a GPU wants at full clock."""
    if cap_w >= tdp_w:
        return FULL_CLOCK
    wanted = np.arange(np.ceil(tdp_w) + 1) / tdp_w
    room = max(cap_w / tdp_w - CLOCK_FREE, 0.0) / np.maximum(wanted - CLOCK_FREE, 1e-9)
    clock = np.where(wanted <= cap_w / tdp_w, 1.0, np.clip(room ** (1 / CLOCK_POWER), LOWEST_CLOCK, 1.0))
    table: NDArray[np.int64] = np.rint(2**FRACTION_BITS / clock).astype(np.int64)
    return table


def watts_per_gpu(system: System, accelerator_w: float) -> dict[str, float]:
    """Watts per GPU on the four bases, for GPUs that draw ``accelerator_w`` on average.

    ``accelerator``: modelled draw of die and HBM; ``tdp``: the board limit; ``nameplate``: maximum of the system over its GPUs;
    ``facility``: the GPU and its share of all else in the system under load, times the PUE.
    """
    facility = (accelerator_w + system.other_w / system.gpus) * system.pue
    watts = (accelerator_w, system.tdp_w, system.nameplate_w / system.gpus, facility)
    return dict(zip(BASES, watts, strict=True))
