"""Shapes to search: the sizes and layouts of a deployment's pools, and which of them to look at. Input is a system."""

from dataclasses import dataclass

from simulator.hardware.system import System

DEP, TP = "dp", "tp"
MIXED, SPLIT = "mixed", "prefill/decode"
LETTERS = {"prefill": "P", "decode": "D"}
"""How a shape's name tells its pools."""


@dataclass(frozen=True)
class PoolShape:
    """One pool of a shape. ``attention`` is ``dp`` (one rank a GPU) or ``tp`` (one rank a worker)."""

    role: str
    workers: int
    gpus_per_worker: int
    attention: str
    max_seqs: int
    token_budget: int

    @property
    def gpus(self) -> int:
        """Accelerators of the pool."""
        return self.workers * self.gpus_per_worker

    @property
    def ranks(self) -> int:
        """Attention shards of a worker."""
        return self.gpus_per_worker if self.attention == DEP else 1

    @property
    def layout(self) -> str:
        """Width and attention of a worker: ``DEP8``, ``TP4``."""
        return f"{'DEP' if self.attention == DEP else 'TP'}{self.gpus_per_worker}"

    def __str__(self) -> str:
        return f"{self.workers} x {self.layout}"


@dataclass(frozen=True)
class Shape:
    """Pool sizes and layouts: one mixed pool, or a prefill and a decode pool; by name ``9 x DEP8 mixed`` or ``6 x DEP4 P + 1 x DEP8 D``."""

    pools: tuple[PoolShape, ...]

    @property
    def kind(self) -> str:
        """``mixed`` or ``prefill/decode``."""
        return MIXED if len(self.pools) == 1 else SPLIT

    @property
    def gpus(self) -> int:
        """Accelerators of all pools."""
        return sum(pool.gpus for pool in self.pools)

    @property
    def family(self) -> tuple[tuple[str, str], ...]:
        """Role and layout of each pool: shapes of a family differ in counts and seats only."""
        return tuple((pool.role, pool.layout) for pool in self.pools)

    @property
    def seats(self) -> int:
        """Decode seats of a rank."""
        return self.pools[-1].max_seqs

    def __str__(self) -> str:
        return " + ".join(f"{pool} {LETTERS.get(pool.role, pool.role)}" for pool in self.pools)


@dataclass(frozen=True)
class Space:
    """Which shapes to look at.

    Attributes
    ----------
    gpus : int
        GPUs that a shape may use; 0 for one system.
    widest : int
        GPUs of the widest worker; 0 for the scale-up domain.
    attentions : tuple of str
        Attention layouts; empty for those of the base, which its coefficients were fitted for.
    seat_rungs : tuple of float
        The ladder of decode seats, as factors of the base's.
    chunk_rungs : tuple of float
        Chunk budgets of mixed workers, as factors of the prefill pool's, where the base has no mixed pool to take one from.
    most_decode_workers : int
        Largest number of decode workers beside some prefill workers; both counts have no common divisor, for twice a shape is no new one.
    """

    gpus: int = 0
    widest: int = 0
    attentions: tuple[str, ...] = ()
    seat_rungs: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    chunk_rungs: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    most_decode_workers: int = 8


@dataclass(frozen=True)
class Refused:
    """A layout that cannot serve, and why."""

    role: str
    layout: str
    reason: str


def widths(system: System, most: int) -> list[int]:
    """GPUs per worker to look at: divisors of the scale-up domain, and powers of two within it, as published set-ups have them."""
    return [w for w in range(1, min(system.gpus, most) + 1) if system.gpus % w == 0 or w & (w - 1) == 0]


def fits_budget(gpus: int, most: int, system: System) -> bool:
    """Whether a shape of so many GPUs is within ``most`` and either part of one system or whole systems."""
    return gpus <= most and (gpus <= system.gpus or gpus % system.gpus == 0)
