"""One operating point: a scenario at one agent count, played once for each seed. Inputs come from a scenario."""

from collections.abc import Callable, Sequence

from simulator.capacity.binding import Binding, find_binding
from simulator.capacity.build import Prepared, build_world, prepare
from simulator.capacity.early import FAILED, PASSED, Outlook, looks_ps
from simulator.capacity.energy import energy_of, power_over_time
from simulator.capacity.limiter import Pressure, find_limiter
from simulator.capacity.metrics import Window, describe, goodput, joined, measure, thinned
from simulator.capacity.pool_summary import lost_time, pool_summaries, spent_s
from simulator.capacity.results import PoolSummary, PowerBases, Summary
from simulator.capacity.scenario import Scenario
from simulator.capacity.slo import SPEED, TTFT
from simulator.capacity.valid_range import beyond_range
from simulator.engine.kernel import KernelRun, simulate_kernel
from simulator.engine.world import Output, World
from simulator.errors import Mistake, UserError
from simulator.hardware.badge import badge
from simulator.hardware.power import watts_per_gpu

Progress = Callable[[str], None]
"""Called with one line of plain text for every phase played."""

Keep = Callable[[int, Output], None]
"""Called with a seed and what the engine returned for it."""


def play(scenario: Scenario, agents: int | None = None, seed: int | None = None) -> Output:
    """One phase as the engine tells it: every finished call, from the first agent's start on.

    Parameters
    ----------
    scenario : Scenario
    agents, seed : int, optional
        The scenario's own count, and its first seed, when left out.

    Raises
    ------
    UserError
        When there is no agent count, or a part of the scenario is bad.

    Examples
    --------
    >>> from simulator import load_scenario, play
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> output = play(load_scenario("capacity_h200", small), agents=4)
    >>> len(output.calls) <= output.calls_issued
    True
    """
    prepared = prepare(scenario, scenario.seeds[0] if seed is None else seed)
    return simulate_kernel(build_world(prepared, scenario.agents_or(agents)))


def play_logged(scenario: Scenario, agents: int | None = None) -> tuple[World, Output]:
    """One phase at the scenario's first seed with its event log, and the world that was played.

    Raises
    ------
    UserError
        When there is no agent count, or a part of the scenario is bad.
    """
    world = build_world(prepare(scenario, scenario.seeds[0]), scenario.agents_or(agents))
    return world, simulate_kernel(world, events=True)


def play_window(prepared: Prepared, agents: int) -> Window:
    """Plays one phase and measures its steady window."""
    world = build_world(prepared, agents)
    return measure(world, simulate_kernel(world))


class Trial:
    """A phase of the search, played until it is clear what the SLO says of it (`capacity/early.py`).

    Attributes
    ----------
    passed : bool
        Whether it stopped at a look at which it had passed, so that it can be played on.
    output : Output
        What came out so far, but for the calls, which the outlook has read.
    verdict : Verdict
        What the SLO says about that.
    """

    def __init__(self, prepared: Prepared, agents: int) -> None:
        self.world, self.passed = build_world(prepared, agents), False
        self.outlook, self.run = Outlook(self.world, prepared.slo), KernelRun(self.world)
        self.looks = iter((*looks_ps(self.world.stop), self.world.stop.max_ps))

    def play(self, to_the_end: bool = False) -> None:
        """Go on to the look at which it has failed or, unless it is played to the end, passed."""
        for look_ps in self.looks:
            self.run.play(look_ps)
            said = self.outlook(self.run.take(), self.run.plays)
            self.passed = said == PASSED and not (self.run.ended or to_the_end)
            if self.run.ended or self.passed or said == FAILED:
                break
        self.output, self.verdict = self.run.output(), self.outlook.verdict
        self.output = self.output._replace(calls=self.output.calls.copy())  # none; the table they lay in is large
        if not self.passed:
            del self.run  # its tables are large


def run(scenario: Scenario, agents: int | None = None, progress: Progress | None = None, keep: Keep | None = None) -> Summary:
    """One operating point, pooled over the scenario's seeds.

    Parameters
    ----------
    scenario : Scenario
    agents : int, optional
        The scenario's own count when left out.
    progress : callable, optional
        Told after every seed.
    keep : callable, optional
        Given every seed and what the engine returned for it.

    Raises
    ------
    UserError
        When neither gives an agent count, or a part of the scenario is bad.

    Examples
    --------
    >>> from simulator import load_scenario, run
    >>> small = {"workload": {"kind": "fixed", "isl": 2000, "osl": 50}, "phase.min_window_s": 60, "seeds": 1}
    >>> summary = run(load_scenario("capacity_h200", small), agents=4)
    >>> summary.agents, summary.held, summary.ttft_s["p50"] <= summary.ttft_s["p95"]
    (4, True, True)
    """
    agents = scenario.agents_or(agents)
    windows = []
    for seed in scenario.seeds:
        prepared = prepare(scenario, seed)
        world = build_world(prepared, agents)
        output = simulate_kernel(world)
        windows.append(measure(world, output))
        if keep:
            keep(seed, output)
        if progress:
            progress(f"seed {seed}: {agents} agents, {windows[-1].ttft_s.size:,} calls in {windows[-1].window_s:,.0f} s")
    return summarise(prepared, joined(windows), scenario.seeds)


def summarise(prepared: Prepared, window: Window, seeds: Sequence[int]) -> Summary:
    """Everything people read off one operating point.

    Raises
    ------
    UserError
        When no call was sent and finished in the window, so that there is nothing to read.
    """
    if not window.ttft_s.size:
        hint = "raise phase.max_s or phase.min_window_s, or lower agents"
        raise UserError(Mistake(prepared.scenario.name, "phase", f"no call finished in a window of {window.window_s:g} s", hint=hint))
    seconds = window.window_s
    verdict = prepared.slo.evaluate(window.samples)
    goodput_agents, goodput_tok_s = goodput(window, prepared.slo)
    cache_hit = window.cached_tokens / window.prompt_tokens
    watts = PowerBases(**watts_per_gpu(prepared.system, window.accelerator_w))
    pools = pool_summaries(prepared, window)
    stands = badge(prepared.system, prepared.deployment)
    limits = _limits(prepared, window, pools, verdict.binding)
    return Summary(
        system=prepared.system.name,
        model=prepared.model.name,
        deployment=prepared.deployment.name,
        agents=window.agents,
        gpus=window.gpus,
        seeds=tuple(seeds),
        quality=prepared.quality,
        window_s=seconds,
        requests=window.ttft_s.size,
        trajectories=window.trajectories,
        ttft_s=describe(window.ttft_s, 50, 90, 95),
        output_speed_tok_s=describe(window.speed_tok_s, 25, 50),
        tpot_s=describe(1 / window.speed_tok_s, 50, 90),
        e2e_speed_tok_s=describe(window.e2e_speed_tok_s, 25, 50),
        output_tok_s=window.finished_output_tokens / seconds,
        logical_tok_s=window.finished_tokens / seconds,
        cache_hit=cache_hit,
        cache_hit_possible=prepared.cache_hit_possible,
        preemptions=window.preemptions,
        energy_j=window.energy_j,
        watts_per_gpu=watts,
        step_shares=window.step_shares,
        blocked_shares=window.blocked_shares,
        utilisation=window.busy_share,
        decode_batch_per_rank=window.decode_batch_per_rank,
        goodput_agents=goodput_agents,
        goodput_output_tok_s=goodput_tok_s,
        limiter=limits.limiter,
        cut_trajectories=prepared.cut_trajectories,
        notes=(*prepared.notes, *beyond_range(prepared, pools), *_phase_notes(window)),
        series=window.series,
        ttft_samples_s=thinned(window.ttft_s),
        speed_samples_tok_s=thinned(window.speed_tok_s),
        slo=prepared.slo.as_dict(),
        held=verdict.held and window.complete,
        binding=verdict.binding,
        engine=engine_words(prepared.deployment.imitates, prepared.deployment.inspired),
        pools=pools,
        stages_s={name: describe(window.stage_s[:, i], 50, 95) for i, name in enumerate(window.stages)},
        ttft_stages_s=spent_s(window, prepared.slo, TTFT),
        speed_stages_s=spent_s(window, prepared.slo, SPEED),
        calls_in_flight=window.calls_in_flight,
        threads=prepared.threads.most_in_flight,
        host_hit=window.host_tokens / window.prompt_tokens,
        binding_pool=limits.pool,
        why=limits.why,
        energy=energy_of(window, watts),
        power_w=power_over_time(prepared.system, window.series.accelerator_w, window.gpus),
        badge=stands.word,
        badge_because=stands.because,
    )


def _limits(prepared: Prepared, window: Window, pools: Sequence[PoolSummary], clause: str) -> Binding:
    """What limits one pool by its own shares, and several by where the calls lose their time."""
    cache_hit = window.cached_tokens / window.prompt_tokens
    if len(pools) == 1:
        pressure = Pressure(window.step_shares, window.blocked_shares, cache_hit, prepared.cache_hit_possible)
        return Binding(pools[0].name, find_limiter(pressure)[0], "")
    return find_binding(pools, lost_time(window, prepared.slo, clause), cache_hit, prepared.cache_hit_possible)


def engine_words(imitates: str, inspired: Sequence[str]) -> str:
    """Which engine's scheduling a deployment follows, and which of its options it sets otherwise."""
    return f"inspired by {imitates}, with another {', '.join(inspired)}" if inspired else f"imitates {imitates}"


def _phase_notes(window: Window) -> tuple[str, ...]:
    if window.complete:
        return ()
    return ("a phase met its hard end (phase.max_s) before its minimum of trajectories: it does not count by the benchmark's rules",)
