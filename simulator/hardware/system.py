"""A system: an accelerator, how many stand in a node or rack, and what they draw. Inputs come from `hardware_profiles/systems`."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.quality import Field


@dataclass(frozen=True)
class System:
    """One node or rack of equal accelerators that share a scale-up domain.

    Attributes
    ----------
    name, title : str
    gpus : int
        Accelerators in the node or rack, which is also the scale-up domain.
    hbm_bytes, hbm_bytes_per_s : float
        Usable memory and peak bandwidth of one accelerator.
    bf16_flops, fp8_flops, fp4_flops : float
        Peak dense FLOP/s of one accelerator; 0 for a type it does not compute in.
    scale_up_bytes_per_s, scale_out_bytes_per_s, host_link_bytes_per_s : float
        One way and per accelerator: inside the scale-up domain, out of it, and from host memory; 0 where unknown.
    host_bytes : float
        Host memory of the node or rack; 0 where unknown.
    tdp_w, idle_w : float
        Board power limit, and draw with weights loaded and no work, of one accelerator.
    nameplate_w, other_w : float
        Maximum of the whole system, and what all that is not an accelerator draws under load.
    pue : float
        Facility power over IT power.
    power_floor, power_hbm, power_flop, power_rise : float
        ``p0``, ``pm`` and ``pc`` of the power law, as shares of the TDP, and ``rise``: how many times steeper watts rise at light load.
    capital_usd, own_usd_per_gpu_hour, rent_usd_per_gpu_hour : float
        Price of the node or rack, and what an hour of a GPU costs who owns it (all costs) and who rents it; 0 where unknown.
    cap_w : float or None
        A power limit below the TDP that a question sets for every accelerator; no field of a profile.
    """

    name: str
    title: str
    gpus: int
    hbm_bytes: float
    hbm_bytes_per_s: float
    bf16_flops: float
    fp8_flops: float
    fp4_flops: float
    scale_up_bytes_per_s: float
    scale_out_bytes_per_s: float
    host_link_bytes_per_s: float
    host_bytes: float
    tdp_w: float
    idle_w: float
    nameplate_w: float
    other_w: float
    pue: float
    power_floor: float
    power_hbm: float
    power_flop: float
    power_rise: float
    capital_usd: float
    own_usd_per_gpu_hour: float
    rent_usd_per_gpu_hour: float
    quality: str
    notes: tuple[str, ...]
    fields: Mapping[str, Field]
    cap_w: float | None = None

    def flops(self, compute_type: str) -> float:
        """Peak dense FLOP/s in ``bf16``, ``fp8`` or ``fp4``."""
        return {"bf16": self.bf16_flops, "fp8": self.fp8_flops, "fp4": self.fp4_flops}[compute_type]

    def link_bytes_per_s(self, link: str) -> float:
        """Rate of one accelerator's ``scale_up``, ``scale_out`` or ``host`` link, one way; 0 where unknown."""
        rates = {"scale_up": self.scale_up_bytes_per_s, "scale_out": self.scale_out_bytes_per_s, "host": self.host_link_bytes_per_s}
        return rates[link]
