"""Draws trajectories like those of the AA-AgentPerf benchmark, whose own are private. Inputs: `Shape` (parameters) and a seed.

How a trajectory is drawn (docs/trajectory-format.md gives the formulas and which figures are published and which are assumed):

1. planned calls ``N``: lognormal, rounded, 3 to 200;
2. first prompt: the shared prefix (system prompt and tools) + a floor + a lognormal task text;
3. pace ``g`` of the run: lognormal, times ``(N / median N) ** -slowing``: long runs take smaller steps;
4. each call's answer: lognormal, at most ``max_output_tokens``; of it a uniform share stays in the history (reasoning is dropped);
5. each call's tool: drawn from `TOOLS`, giving a delay and a result, both lognormal; result and kept answer are the next call's new tokens,
   times ``g`` for the result;
6. the context only grows (no compaction); the run ends early at the call that would exceed ``max_prompt_tokens``.

Steps 1 to 3 take their random numbers from a low-discrepancy sequence, so that a set of a few hundred already has the intended spread of
run lengths; the rest is drawn independently, one stream per trajectory: the first trajectories of a longer set are those of a shorter one.

A `FanOut` adds sub-agents, from streams of their own: the main threads are those of the set without.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from simulator.errors import Mistake, UserError
from simulator.units import MOST_TRAJECTORIES
from simulator.workload.trajectory import Call, SubAgent, Trajectory, TrajectorySet


@dataclass(frozen=True)
class Tool:
    """A kind of tool: how often it is called, how long it takes and how much it returns. All values are assumed."""

    name: str
    share: float
    delay_s: float
    """Median, before the common scale `Shape.delay_scale`."""
    delay_sigma: float
    result_tokens: float
    """Median, before the common scale `Shape.result_scale`."""
    result_sigma: float


TOOLS = (
    Tool("read", share=0.36, delay_s=0.5, delay_sigma=0.6, result_tokens=600.0, result_sigma=1.3),
    Tool("search", share=0.22, delay_s=1.0, delay_sigma=0.6, result_tokens=250.0, result_sigma=1.2),
    Tool("edit", share=0.20, delay_s=0.7, delay_sigma=0.5, result_tokens=80.0, result_sigma=0.6),
    Tool("run", share=0.22, delay_s=2.4, delay_sigma=0.6, result_tokens=250.0, result_sigma=1.5),
)
DELAY_RANGE_S = (0.1, 5.0)
CALLS_RANGE = (3, 200)


@dataclass(frozen=True)
class Shape:
    """Parameters of the generator. The ``fitted`` ones are what `fit` finds for the published figures; the rest are assumed.

    Attributes
    ----------
    calls_median : float
        Fitted. Median planned calls of a trajectory.
    calls_sigma : float
    shared_prefix_tokens : int
        System prompt and tool definitions, with which every prompt begins.
    task_floor_tokens, task_tokens, task_sigma : float
        The first user message: floor + lognormal(median, sigma).
    pace_sigma, slowing : float
        Spread of a run's result sizes, and the exponent by which long runs take smaller steps.
    result_scale : float
        Fitted. Factor on every tool's result.
    output_median, output_sigma : float
        Fitted. Lognormal of output tokens.
    kept_share : tuple of float
        Range of the uniform share of an answer that stays in the history.
    delay_scale : float
        Fitted. Factor on every tool's delay.
    max_output_tokens, max_prompt_tokens : int
        Published bounds.
    max_result_tokens : int
        Where a harness truncates a tool's result.
    """

    calls_median: float = 29.2
    calls_sigma: float = 0.75
    shared_prefix_tokens: int = 4_800
    task_floor_tokens: int = 200
    task_tokens: float = 600.0
    task_sigma: float = 1.0
    pace_sigma: float = 0.55
    slowing: float = 0.35
    result_scale: float = 0.737
    output_median: float = 151.4
    output_sigma: float = 1.569
    kept_share: tuple[float, float] = (0.1, 0.7)
    delay_scale: float = 1.22
    max_output_tokens: int = 16_384
    max_prompt_tokens: int = 131_072
    max_result_tokens: int = 16_384


FITTED = Shape()


@dataclass(frozen=True)
class FanOut:
    """How runs hand work to sub-agents. All values are assumed; no statistics of such runs are published for AA-AgentPerf.

    Attributes
    ----------
    share : float
        Trajectories that fan out at all.
    times : tuple of int
        Range of how often such a run fans out, each time after a call of its own.
    width : tuple of int
        Range of how many sub-agents one call spawns.
    calls_median, calls_sigma : float
        Lognormal of a sub-agent's calls, within `calls_range`.
    calls_range : tuple of int
    task_tokens, task_sigma : float
        Lognormal of the delegated task, which follows the shared prefix in a sub-agent's first prompt.
    delay_s : tuple of float
        Range of the uniform time from the end of the spawning call to a sub-agent's first one.
    max_prompt_tokens : int
        A sub-agent ends early at the call whose prompt would exceed this.
    """

    share: float = 0.4
    times: tuple[int, int] = (1, 3)
    width: tuple[int, int] = (2, 4)
    calls_median: float = 8.0
    calls_sigma: float = 0.5
    calls_range: tuple[int, int] = (2, 24)
    task_tokens: float = 300.0
    task_sigma: float = 0.6
    delay_s: tuple[float, float] = (0.1, 1.0)
    max_prompt_tokens: int = 32_768


SHIPPED_SEED = 3
"""Seed of `trajectories/agentperf_like.jsonl.gz`: of 0 to 19 the one whose sample of 400 lies closest to the published figures."""


def generate(
    trajectories: int = 400, seed: int = SHIPPED_SEED, shape: Shape = FITTED, name: str = "agentperf_like", fan_out: FanOut | None = None
) -> TrajectorySet:
    """A set of drawn trajectories; the same arguments give the same set.

    Parameters
    ----------
    trajectories, seed : int
    shape : Shape
    name : str
        Of the set; with `fan_out` it ends in ``_subagents``.
    fan_out : FanOut, optional
        Adds sub-agents; the main threads stay the same.

    Raises
    ------
    UserError
        When `trajectories` or `seed` is out of range.
    """
    if not 1 <= trajectories <= MOST_TRAJECTORIES or seed < 0:
        field, value, allowed = ("seed", seed, ">= 0") if seed < 0 else ("trajectories", trajectories, f"1 to {MOST_TRAJECTORIES:,}")
        raise UserError(Mistake("generate", field, str(value), allowed))
    shift = np.random.default_rng([seed, 0]).random(3)
    drawn = tuple(_trajectory(index, seed, shift, shape) for index in range(trajectories))
    arguments = f"trajectories={trajectories}, seed={seed}"
    provenance = {
        "origin": f"simulator.workload.generate.generate({arguments})",
        "licence": "Apache-2.0",
        "method": "parametric generator fitted jointly to the published statistics of AA-AgentPerf (June 2026); no recorded run is inside",
        "quality": "fitted",
    }
    if fan_out is not None:
        drawn = tuple(_fanned_out(trajectory, index, seed, shape, fan_out) for index, trajectory in enumerate(drawn))
        provenance["origin"] = f"simulator.workload.generate.generate({arguments}, fan_out={fan_out})"
        provenance["sub_agents"] = FAN_OUT_NOTE
        provenance["quality"] = "assumed"
        name += "_subagents"
    return TrajectorySet(name, "recorded", shape.shared_prefix_tokens, drawn, provenance)


FAN_OUT_NOTE = (
    "the fan-out to sub-agents is an assumption: how many runs, how often, how wide, how long and in how short contexts is not published; "
    "the main threads are those of the set without sub-agents"
)


def fit(shape: Shape = FITTED, trajectories: int = 3_000, seed: int = 1, rounds: int = 12) -> Shape:
    """Parameters for which ISL mean, calls per trajectory, OSL p50 and p95 and median tool delay meet the published figures together.

    Every round draws a large set and moves each fitted parameter by the ratio of target to figure: the figures depend on each other (run
    length moves the ISL mean, answers feed the context), so they are met by repeating, not one after the other.
    """
    for _ in range(rounds):
        drawn = generate(trajectories, seed, shape)
        calls = [call for trajectory in drawn.trajectories for call in trajectory.calls]
        prompts = np.array([call.prompt_tokens for call in calls])
        p50, p95 = np.percentile([call.output_tokens for call in calls], [50, 95])
        delay = np.median([call.tool_s for trajectory in drawn.trajectories for call in trajectory.calls[:-1]])
        first = np.mean([trajectory.calls[0].prompt_tokens for trajectory in drawn.trajectories])
        shape = replace(
            shape,
            calls_median=shape.calls_median * 38 * trajectories / len(calls),
            result_scale=float(shape.result_scale * ((27_000 - first) / (prompts.mean() - first)) ** 1.2),
            output_median=float(shape.output_median * 150 / p50),
            output_sigma=shape.output_sigma * math.log(2_000 / 150) / math.log(p95 / p50),
            delay_scale=float(shape.delay_scale / delay),
        )
    return shape


def _trajectory(index: int, seed: int, shift: NDArray[np.float64], shape: Shape) -> Trajectory:
    rng = np.random.default_rng([seed, 1, index])
    calls_z, pace_z, task_z = (NormalDist().inv_cdf(min(max(u, 1e-9), 1 - 1e-9)) for u in _even(index, shift))
    planned = round(shape.calls_median * math.exp(shape.calls_sigma * calls_z))
    planned = min(max(planned, CALLS_RANGE[0]), CALLS_RANGE[1])
    pace = math.exp(shape.pace_sigma * pace_z) * (planned / shape.calls_median) ** -shape.slowing
    task = shape.task_floor_tokens + round(shape.task_tokens * math.exp(shape.task_sigma * task_z))
    return Trajectory(f"like-{index:04d}", _chain(rng, planned, pace, task, shape.max_prompt_tokens, shape))


def _fanned_out(trajectory: Trajectory, index: int, seed: int, shape: Shape, fan_out: FanOut) -> Trajectory:
    """The trajectory with its sub-agents, if it is one of those that have some."""
    rng = np.random.default_rng([seed, 2, index])
    last = len(trajectory.calls) - 1  # a run's last call does not fan out: its result would go nowhere
    if rng.random() >= fan_out.share or not last:
        return trajectory
    times = min(int(rng.integers(*fan_out.times, endpoint=True)), last)
    calls, sub_agents = list(trajectory.calls), list[SubAgent]()
    for spawned_by in sorted(rng.choice(last, size=times, replace=False).tolist()):
        for _ in range(int(rng.integers(*fan_out.width, endpoint=True))):
            planned = round(fan_out.calls_median * math.exp(fan_out.calls_sigma * rng.standard_normal()))
            planned = min(max(planned, fan_out.calls_range[0]), fan_out.calls_range[1])
            task = max(1, round(fan_out.task_tokens * math.exp(fan_out.task_sigma * rng.standard_normal())))
            sub_agents.append(SubAgent(spawned_by, len(calls), round(rng.uniform(*fan_out.delay_s), 3)))
            calls += _chain(rng, planned, 1.0, task, fan_out.max_prompt_tokens, shape)
    return replace(trajectory, calls=tuple(calls), sub_agents=tuple(sub_agents))


def _chain(rng: np.random.Generator, planned: int, pace: float, task: int, max_prompt_tokens: int, shape: Shape) -> tuple[Call, ...]:
    """The calls of one thread: a task after the shared prefix, then what tools return and what stays of the answers."""
    output = _lognormal(rng, np.full(planned, shape.output_median), np.full(planned, shape.output_sigma))
    output_tokens = np.clip(np.rint(output), 1, shape.max_output_tokens).astype(np.int64)
    delay_s, result = _tools(rng, planned, shape)
    kept_answer = output_tokens * rng.uniform(*shape.kept_share, planned)
    grown = np.maximum(np.rint(kept_answer + np.minimum(result * pace, shape.max_result_tokens)), 1).astype(np.int64)
    new = np.concatenate(([shape.shared_prefix_tokens + task], grown[:-1]))
    prompt = np.cumsum(new)
    fits = max(1, int(np.searchsorted(prompt, max_prompt_tokens, side="right")))
    return tuple(
        Call(int(prompt[i] - new[i]), int(new[i]), int(output_tokens[i]), round(float(delay_s[i]), 3)) for i in range(fits)
    )  # fmt: skip


def _tools(rng: np.random.Generator, count: int, shape: Shape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delay in seconds and result in tokens of each call's tool."""
    kinds = rng.choice(len(TOOLS), size=count, p=[tool.share for tool in TOOLS])
    delay = np.array([tool.delay_s for tool in TOOLS])[kinds] * shape.delay_scale
    result = np.array([tool.result_tokens for tool in TOOLS])[kinds] * shape.result_scale
    delay_s = _lognormal(rng, delay, np.array([tool.delay_sigma for tool in TOOLS])[kinds])
    return np.clip(delay_s, *DELAY_RANGE_S), _lognormal(rng, result, np.array([tool.result_sigma for tool in TOOLS])[kinds])


def _lognormal(rng: np.random.Generator, median: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    return median * np.exp(sigma * rng.standard_normal(median.size))


def _even(index: int, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Point `index` of the R3 sequence (additive recurrence of the root of x^4 = x + 1), shifted: even over the unit cube."""
    root = 1.2207440846057596
    return np.mod(shift + (index + 1) / root ** np.arange(1, 4), 1.0)
