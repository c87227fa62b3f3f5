"""The answers: frozen values that the report prints and `--json` writes. Inputs come from engine outputs and an SLO."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.units import W_PER_MW

if TYPE_CHECKING:
    from simulator.capacity.contrast import Contrast
    from simulator.capacity.cost import Cost
    from simulator.capacity.study import StudyPoint


@dataclass(frozen=True)
class PowerBases:
    """One quantity on each of the four power bases (docs/power.md): watts per GPU, or agents per MW."""

    accelerator: float
    tdp: float
    nameplate: float
    facility: float


@dataclass(frozen=True)
class Energy:
    """Energy of the steady window over what finished in it, in joules on each basis (docs/power.md); that of idle GPUs is included.

    A call counts as its share of its trajectory's calls, so that a window shorter than a trajectory has an energy per trajectory too.
    """

    call_j: PowerBases
    trajectory_j: PowerBases
    million_output_tokens_j: PowerBases
    million_tokens_j: PowerBases
    """Prompt and output tokens, cached ones too."""


@dataclass(frozen=True)
class Series:
    """Levels over time, one value per bin of equal width; all arrays have shape (bins,).

    ``cache_hit`` is nan in a bin without prompts.
    """

    time_s: NDArray[np.float64]
    decode_batch: NDArray[np.float64]
    waiting_calls: NDArray[np.float64]
    kv_used_share: NDArray[np.float64]
    cache_hit: NDArray[np.float64]
    accelerator_w: NDArray[np.float64]
    output_tok_s: NDArray[np.float64]


@dataclass(frozen=True)
class PoolSummary:
    """One pool of workers at an operating point.

    ``step_shares`` and ``blocked_shares`` have the keys of `Summary`. All shares are between 0 and 1.
    """

    name: str
    role: str
    gpus: int
    workers: int
    ranks: int
    """Attention shards of all its workers."""
    max_seqs: int
    """Seats of a rank."""
    utilisation: float
    """Share of the window in which a worker has a step running, averaged over workers."""
    watts_per_gpu: float
    """On the accelerator basis."""
    step_shares: dict[str, float]
    blocked_shares: dict[str, float]
    lockstep_wait_share: float
    """Share of the stepping time in which a rank waits for its worker's slowest one, averaged over ranks."""
    decode_batch_per_rank: float
    kv_used_share: float
    """Share of a rank's KV blocks that calls hold, averaged over the time in which its worker steps."""
    kv_peak_share: float
    """The largest share of a rank's KV blocks that calls held."""
    link_share: float
    """Share of the window in which a port moves KV, averaged over the pool's ports."""
    moved_tok_s: float
    host_share: float
    """Share of the window in which a rank reads its host tier, averaged over ranks."""
    host_loaded_tok_s: float
    host_stored_blocks: int
    prefill_tok_s: float
    decode_tok_s: float
    preemptions: int
    limiter: str
    """What shows most in this pool, by the rules for a pool alone; empty for one that never stepped."""
    series: Series = field(repr=False)


@dataclass(frozen=True)
class Summary:
    """One operating point: a scenario at one agent count, pooled over its seeds.

    ``step_shares`` splits the busy time by term of the step-time law and adds the idle share (keys: launch_floor, weights, kv_read,
    decode_compute, prefill_compute, idle; they sum to 1). ``blocked_shares`` gives the share of time in which a rank's first waiting
    call was held back (keys: kv_memory, seats, token_budget). Speeds are output tokens/s after the first token.
    """

    system: str
    model: str
    deployment: str
    agents: int
    gpus: int
    seeds: tuple[int, ...]
    quality: str
    window_s: float
    requests: int
    trajectories: int
    ttft_s: dict[str, float]
    """mean, p50, p90, p95"""
    output_speed_tok_s: dict[str, float]
    """p25, p50, mean"""
    tpot_s: dict[str, float]
    """mean, p50, p90"""
    e2e_speed_tok_s: dict[str, float]
    """p25, p50, mean"""
    output_tok_s: float
    logical_tok_s: float
    cache_hit: float
    cache_hit_possible: float
    preemptions: int
    energy_j: float
    watts_per_gpu: PowerBases
    step_shares: dict[str, float]
    blocked_shares: dict[str, float]
    utilisation: float
    decode_batch_per_rank: float
    goodput_agents: float
    goodput_output_tok_s: float
    limiter: str
    cut_trajectories: int
    notes: tuple[str, ...]
    series: Series = field(repr=False)
    ttft_samples_s: NDArray[np.float64] = field(repr=False)
    """Every call's TTFT, pooled (at most 20,000, evenly thinned)."""
    speed_samples_tok_s: NDArray[np.float64] = field(repr=False)
    slo: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    """Whether the pooled calls meet the SLO, in a phase that counts."""
    binding: str = ""
    """Clause of the SLO with the least margin."""
    engine: str = ""
    """Engine whose scheduling the deployment imitates, or is inspired by."""
    pools: tuple[PoolSummary, ...] = ()
    stages_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage of a call -> mean, p50 and p95 of its time, over all requests (docs/capacity.md); the means add up to send to last token."""
    ttft_stages_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """What a TTFT is made of: ``mean`` of all requests, and ``tail`` of those at the percentile that the SLO judges -> stage -> seconds."""
    speed_stages_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same of the time from the first token to the last, which makes the output speed."""
    calls_in_flight: float = float("nan")
    """Calls between send and last token, on average; of ``agents`` some wait for a tool, and some have sub-agents at work."""
    threads: int = 1
    """Most calls that an agent can have in flight: 1 without sub-agents."""
    host_hit: float = 0.0
    """Share of the prompt tokens that came back from the host tier; part of ``cache_hit``."""
    binding_pool: str = ""
    """Pool that binds; ``limiter`` says by what."""
    why: str = ""
    """Why the binding pool binds, as the rest of a sentence with its numbers; empty where there is only one pool."""
    energy: Energy | None = None
    """Energy per call, trajectory and million tokens."""
    power_w: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    """Basis -> watts of the whole set-up by the times of ``series``."""
    badge: str = ""
    """``calibrated``, ``fitted`` or ``estimated``: what the laws and the KV pool stand on (docs/uncertainty.md)."""
    badge_because: tuple[str, ...] = ()
    """The fields that keep the badge from being better."""

    @property
    def disaggregated(self) -> bool:
        """Whether calls move from one pool to another."""
        return any(pool.role == "prefill" for pool in self.pools)

    @property
    def agents_per_mw(self) -> PowerBases:
        """This point's agents over its power, whether or not they are held."""
        watts = {name: self.gpus * value for name, value in asdict(self.watts_per_gpu).items()}
        return PowerBases(**{name: self.agents / value * W_PER_MW for name, value in watts.items()})


@dataclass(frozen=True)
class Point:
    """One phase of a search: an agent count, whether it held, and what it measured."""

    agents: int
    seed: int
    held: bool
    speed_tok_s: float
    """At the SLO's percentile (of the E2E speed when that is the SLO's form)."""
    ttft_s: float
    calls: int
    output_tok_s: float = 0.0
    scout: bool = False
    """A short phase that only says where the full ones should look."""


@dataclass(frozen=True)
class Interval:
    """Percentiles of one quantity over the draws from the profiles."""

    p5: float
    p10: float
    p50: float
    p90: float
    p95: float


@dataclass(frozen=True)
class Swing:
    """What one group of fields does to the quantities when it alone is moved: one bar of a tornado.

    Attributes
    ----------
    profile : str
        The system, model, engine, or model on a system that the fields describe.
    fields : tuple of str
        Those that move together, for they come from one source.
    quality : str
        The worst of theirs.
    factors : (good, bad)
        By which the first field's distance from its origin is multiplied at its better and its worse end (10th and 90th percentile).
    values : mapping of str to (good, bad)
        Quantity -> its value at the better and the worse end of the fields. The better end need not give more agents per MW.
    """

    profile: str
    fields: tuple[str, ...]
    quality: str
    factors: tuple[float, float]
    values: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Uncertainty:
    """What the errors of the profiles' fields make of an answer, or of the ratio between two.

    Attributes
    ----------
    of : str
        What it belongs to, in words.
    nominal : mapping of str to float
        Quantity (``agents_held agents_per_gpu agents_per_mw_accelerator ..``) -> its value with every field as it stands.
    intervals : mapping of str to Interval
    swings : tuple of Swing
        Groups that move some quantity, the widest first.
    """

    of: str
    samples: int
    seed: int
    nominal: dict[str, float]
    intervals: dict[str, Interval]
    swings: tuple[Swing, ...]


@dataclass(frozen=True)
class Gain:
    """What more and less of one resource alone would do: agents held with it, ``words`` as people call it."""

    resource: str
    words: str
    more: float
    less: float


@dataclass(frozen=True)
class Attribution:
    """What would hold more agents.

    Attributes
    ----------
    reach : float
        Share by which each resource is raised and lowered.
    agents : float
        Held as it is.
    gains : tuple of Gain
        Those that give most first.
    noise : float
        Share of the agents below which a change tells nothing.
    sentence : str
        The same in plain words.
    """

    reach: float
    agents: float
    gains: tuple[Gain, ...]
    noise: float
    sentence: str


@dataclass(frozen=True)
class Answer:
    """How many agents a deployment holds at an SLO, and per GPU and MW."""

    system: str
    model: str
    deployment: str
    slo: dict[str, Any]
    agents_held: int
    interval: tuple[int, int]
    interval_kind: str
    gpus: int
    agents_per_gpu: float
    agents_per_mw: PowerBases
    agents_per_mw_interval: dict[str, tuple[float, float]]
    accelerator_w_per_gpu: float
    cache_hit: float
    limiter: str
    binding: str
    """Clause of the SLO that breaks first: ``speed`` or ``ttft`` (or ``e2e_speed``)."""
    knee_agents: int
    """Agent count at which an added agent brings half the output tokens/s that each of the first ones brings (search.knee)."""
    knee_distance: float
    """agents_held / knee_agents."""
    monotone: bool
    quality: str
    seeds: tuple[int, ...]
    goodput_agents: float
    goodput_output_tok_s: float
    points: tuple[Point, ...]
    held: Summary | None
    """The operating point at ``agents_held``, of the seed whose answer it is (None when not even one agent holds)."""
    broken: Summary | None
    """The operating point at the first agent count found broken, which names the limiter."""
    sentence: str
    """What limits this system, in plain words with the numbers."""
    engine: str = ""
    """Engine whose scheduling the deployment imitates, or is inspired by."""
    binding_pool: str = ""
    """Pool that binds at the first broken count; ``limiter`` says by what."""
    knee_reached: bool = True
    """False when no tried count lies beyond the knee: ``knee_agents`` is then the largest one tried."""
    badge: str = ""
    """``calibrated``, ``fitted`` or ``estimated``: what the laws and the KV pool stand on (docs/uncertainty.md)."""
    badge_because: tuple[str, ...] = ()
    """The fields that keep the badge from being better."""
    uncertainty: Uncertainty | None = None
    """What the errors of the profiles make of it; None where nobody asked, or not one agent holds."""
    attribution: Attribution | None = None
    """What more and less of each resource would do to it; None where nobody asked, or not one agent holds."""


@dataclass(frozen=True)
class Sprint:
    """The sprint tests of a system: one completion alone, and peak throughput, on the same engine."""

    system: str
    deployment: str
    single_ttft_s: float
    single_speed_tok_s: float
    peak_output_tok_s: float
    peak_output_tok_s_per_gpu: float
    peak_concurrency: int
    single_deployment: str = ""
    """Deployment of the single completion; ``deployment`` is that of the peak. Each is the best of the system's deployments."""

    def __str__(self) -> str:
        return f"{self.deployment}: one completion {self.single_speed_tok_s:.0f} tok/s, peak {self.peak_output_tok_s:,.0f} tok/s"


@dataclass(frozen=True)
class Comparison:
    """Answers of several systems and tiers side by side, with ratios to the first system of each tier and the sprint tests."""

    answers: tuple[Answer, ...]
    sprints: tuple[Sprint, ...]
    ratios: tuple[dict[str, Any], ...]
    """One row per tier and system beyond the first: tier, system, against, agents_per_gpu, agents_per_mw_accelerator, ...,
    sprint_single, sprint_peak."""
    uncertainty: tuple[Uncertainty | None, ...] = ()
    """What the errors of the profiles make of each ratio; empty where nobody asked."""
    studies: "tuple[StudyPoint, ...]" = ()
    """Points of the studies that were asked for, in their order."""
    costs: "tuple[Cost, ...]" = ()
    """What each answer's agents cost; empty where nobody asked."""
    contrasts: "tuple[Contrast, ...]" = ()
    """Why the ranking by peak throughput differs from that by agents per MW, by pairs of systems; empty where nobody asked."""
