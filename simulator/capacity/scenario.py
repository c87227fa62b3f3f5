"""A scenario: what serves, what is asked, what must hold. It is read from YAML by `scenario_file.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulator.capacity.demand import Demand
from simulator.capacity.search import Resolution
from simulator.capacity.slo import SLO
from simulator.capacity.study import NO_STUDIES, Studies
from simulator.errors import Mistake, UserError
from simulator.units import MOST_AGENTS
from simulator.workload.trajectory import History, Marker

Ref = str | Mapping[str, Any]
"""A profile: its shipped name, a path to its file, or its mapping (which may say ``extends: NAME``)."""

DEFAULT_SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class TrajectoryLoad:
    """Agents replay recorded or generated trajectories.

    Attributes
    ----------
    source : str
        Name of a shipped set, or path to a native file or to a folder or archive of Weka sessions.
    history : {"recorded", "generated"} or None
        Whether later prompts carry the recorded answers or those generated in the replay; None: as the set says.
    marker : {"front", "after_system", "none"}
        Where the random marker of each play stands, which bounds what plays share in the prefix cache.
    tool_delay_scale : float
        Factor on every tool delay.
    stops : bool
        Whether calls end by a stop token rather than by length.
    prompt_scale, kept_scale : float
        Factors on the tokens of every prompt, and on what of it repeats the prompts before: a harness that rewrites its history keeps less.
    """

    source: str
    history: History | None
    marker: Marker
    tool_delay_scale: float
    stops: bool
    prompt_scale: float = 1.0
    kept_scale: float = 1.0


@dataclass(frozen=True)
class FixedLoad:
    """Every call alike, as in sprint tests.

    Attributes
    ----------
    isl, osl : int
        Prompt and output tokens of a call.
    concurrency : int
        Agents, when the scenario gives no ``agents``.
    shared_prefix : int
        Leading prompt tokens that all calls share.
    think_s : float
        Wait of an agent between two calls.
    """

    isl: int
    osl: int
    concurrency: int
    shared_prefix: int
    think_s: float
    history: History | None = None
    tool_delay_scale: float = 1.0
    stops: bool = False

    @property
    def marker(self) -> Marker:
        """Calls share their common prefix, if there is one, and nothing else."""
        return "after_system" if self.shared_prefix else "front"


@dataclass(frozen=True)
class Phase:
    """When a phase opens its steady window and when it counts (docs/capacity.md).

    Attributes
    ----------
    ramp_s : float
        Time over which the agents start.
    warmup_s : float
        From the last start to the window.
    min_window_s : float
    min_trajectories, min_agent_trajectories : int
        Plays finished in all and by every agent before the phase may end.
    enough_trajectories : int
        With so many agents that ``min_agent_trajectories`` of each would be more plays than this, this many plays in all are asked instead,
        for a phase of thousands of agents measures its percentiles long before; 0 keeps the benchmark's rule for any number of agents.
    max_s : float
        Hard end; a phase that meets it has not counted.
    """

    ramp_s: float = 120.0
    warmup_s: float = 30.0
    min_window_s: float = 600.0
    min_trajectories: int = 30
    min_agent_trajectories: int = 3
    enough_trajectories: int = 0
    max_s: float = 43_200.0


@dataclass(frozen=True)
class Sampling:
    """How the errors of the profiles are carried into an answer (docs/uncertainty.md).

    Attributes
    ----------
    samples : int
        Draws of the Latin hypercube.
    seed : int
        Of the draws; the load has seeds of its own.
    scout_s : float
        Window of short phases by which draws are answered; 0 for phases by the full rules.
    """

    samples: int = 16
    seed: int = 1
    scout_s: float = 0.0


@dataclass(frozen=True)
class Cell:
    """One system, deployment and SLO of a comparison, and its power cap where it has one of its own."""

    system: Ref | None
    deployment: Ref
    slo: SLO | None
    power_cap_w: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One question. ``system`` and ``model`` are the deployment's own when None, and so is the SLO's tier; of a system and a model alone
    the deployment is derived, and stands as an empty mapping here.

    ``power_cap_w`` is the power limit of each GPU, None for its TDP; a lower one slows steps (docs/power.md).
    ``scout_s`` is the window of the short phases by which the first seed's search finds where full phases should look; 0 for none.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from simulator import load_scenario
    >>> asked = load_scenario("capacity_h200")
    >>> replace(asked, power_cap_w=500.0).power_cap_w
    500.0
    """

    name: str
    deployment: Ref | None
    workload: TrajectoryLoad | FixedLoad
    system: Ref | None = None
    model: Ref | None = None
    slo: SLO | None = None
    agents: int | None = None
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    phase: Phase = Phase()
    search: Resolution = Resolution()
    scout_s: float = 100.0
    power_cap_w: float | None = None
    cells: tuple[Cell, ...] = ()
    uncertainty: Sampling | None = None
    """None: the answer carries the interval over seeds alone."""
    studies: Studies = NO_STUDIES
    """What is studied beside an answer or a comparison."""
    size: Demand | None = None
    """What `size` is asked to buy for."""
    notes: str = ""
    """What a reader of the answer must know beside it."""

    def agents_or(self, agents: int | None) -> int:
        """The given agent count, else the scenario's, else the concurrency of a fixed load."""
        found = agents if agents is not None else self.agents
        if found is None and isinstance(self.workload, FixedLoad):
            found = self.workload.concurrency
        if found is None or not 1 <= found <= MOST_AGENTS:
            allowed = f"a whole number from 1 to {MOST_AGENTS:,}"
            raise UserError(Mistake(self.name, "agents", "nothing" if found is None else f"{found:,}", allowed))
        return found

    def one_deployment(self) -> Ref:
        """The deployment of a question about one.

        Raises
        ------
        UserError
            When the scenario compares several.
        """
        if self.deployment is None:
            hint = "this scenario has cells: ask `compare`, or give a deployment"
            raise UserError(Mistake(self.name, "deployment", "nothing", "a name, a path or a mapping", hint))
        return self.deployment

    def cell_scenarios(self) -> tuple["Scenario", ...]:
        """One scenario for each cell of a comparison.

        Raises
        ------
        UserError
            When the scenario has no cells.
        """
        if not self.cells:
            raise UserError(Mistake(self.name, "cells", "nothing", "a list of {system, deployment, slo}", "a comparison needs cells"))
        return tuple(
            replace(
                self,
                system=cell.system or self.system,
                deployment=cell.deployment,
                slo=cell.slo or self.slo,
                power_cap_w=cell.power_cap_w or self.power_cap_w,
                cells=(),
            )
            for cell in self.cells
        )
