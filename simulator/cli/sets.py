"""The command `trajectories` of the panel *Know*: convert, look at, draw and change sets of agent runs. Inputs are names and files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.workload.trajectory import TrajectorySet

HELP = "Recorded and generated agent runs: convert, statistics, plots, generate, mix, scale, filter, dedupe, anonymise."
trajectories = typer.Typer(help=HELP, invoke_without_command=True)

Source = Annotated[
    str,
    typer.Argument(metavar="SET", help="A shipped set's name, or a path: a native file, a log of a known format.", show_default=False),
]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="Where to write the set: .jsonl or .jsonl.gz.", show_default=False)]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw; the same seed gives the same file.")]
Factor = Annotated[float, typer.Option(min=0.0, help="Factor; 1 leaves them.")]


@trajectories.callback()
def default(ctx: typer.Context) -> None:
    """Recorded and generated agent runs: convert, statistics, plots, generate, mix, scale, filter, dedupe, anonymise."""
    if ctx.invoked_subcommand is None:
        list_sets()


@trajectories.command("list")
def list_sets() -> None:
    """The shipped trajectory sets and where they come from."""
    from simulator.catalog import names
    from simulator.cli.screen import show_sheets
    from simulator.report.profiles import trajectories_sheet
    from simulator.workload.load import load_trajectories

    show_sheets([trajectories_sheet([(name, load_trajectories(name)) for name in names("trajectories")])])


@trajectories.command("stats")
def show_statistics(
    source: Source,
    targets: Annotated[bool, typer.Option("--targets", help="Show the published AA-AgentPerf figures beside.")] = False,
    agents: Annotated[int, typer.Option("--agents", min=1, help="Agents at work at once, for reuse against cache size.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Lengths, growth, delays, sub-agents and reuse of a trajectory set."""
    from simulator.cli.screen import show_json, show_sheets
    from simulator.report.profiles import statistics_sheet
    from simulator.report.set_tables import curve_rows, curve_sheet
    from simulator.workload.load import load_trajectories
    from simulator.workload.statistics import AGENTPERF_TARGETS, cache_curve, statistics

    found = load_trajectories(source)
    figures = statistics(found, AGENTPERF_TARGETS if targets else None)
    curve = cache_curve(found, agents)
    if as_json:
        by_cache = [{"cache_tokens": tokens, "reuse": share} for tokens, share in curve_rows(curve)]
        show_json({"name": found.name, "figures": {f.name: f.value for f in figures}, "agents": agents, "reuse_by_cache": by_cache})
    else:
        show_sheets([statistics_sheet(found.name, figures), curve_sheet(curve, agents)])


@trajectories.command("plot")
def plot(
    sources: Annotated[list[str], typer.Argument(metavar="SET...", help="Sets to draw over each other.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the figure: .html or .png.", show_default=False)],
    agents: Annotated[int, typer.Option("--agents", min=1, help="Agents at work at once, for reuse against cache size.")] = 16,
) -> None:
    """Draw lengths, growth, delays and reuse of one or several sets."""
    from simulator.cli.files import refuse_places, write_bytes
    from simulator.cli.provenance import provenance_of_rows
    from simulator.cli.screen import say
    from simulator.errors import Mistake, UserError
    from simulator.report.set_figures import set_page, set_png
    from simulator.workload.load import load_trajectories

    if out.suffix not in (".html", ".png"):
        raise UserError(Mistake(str(out), "--out", repr(out.suffix), ".html or .png"))
    refuse_places(out)
    sets = [load_trajectories(source) for source in sources]
    command = shlex.join(["agentwatt", "trajectories", "plot", *sources, "--agents", str(agents), "--out", str(out)])
    made = provenance_of_rows("trajectories", " and ".join(found.name for found in sets), command, sets)
    content = set_png(sets, agents) if out.suffix == ".png" else set_page(sets, agents, made).encode()
    write_bytes(out, content)
    say(f"written: {out}")


@trajectories.command("convert")
def convert(
    source: Source,
    out: Target,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the new set; as the reader names it by default.", show_default=False)
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip records that cannot be read, and count them.")] = False,
    idle_cap_s: Annotated[float, typer.Option("--idle-cap", min=0, help="Seconds to which longer waits are cut.")] = 60.0,
    block_tokens: Annotated[
        int | None, typer.Option("--block-tokens", min=1, help="Tokens of a hash block, where the files do not say.", show_default=False)
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", metavar="full|delta", help="What a length is, where names do not tell.", show_default=False)
    ] = None,
    characters_per_token: Annotated[
        float, typer.Option("--characters-per-token", min=0.1, help="Rule for texts without recorded counts.")
    ] = 3.5,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", metavar="FILE", help="Count such texts by this tokenizer.json (extra tokens).", show_default=False),
    ] = None,
) -> None:
    """Read any known format and write it as a native file, numbers only."""
    from dataclasses import replace
    from typing import Literal, cast

    from simulator.cli.screen import say
    from simulator.workload.load import load_trajectories
    from simulator.workload.records import Reading
    from simulator.workload.tokens import by_characters, by_tokenizer

    refuse_name(out)
    if prompts not in (None, "full", "delta"):
        raise typer.BadParameter(f"--prompts is full or delta, not {prompts!r}")
    if idle_cap_s != idle_cap_s or characters_per_token != characters_per_token:
        raise typer.BadParameter("--idle-cap and --characters-per-token are numbers")
    say(f"reading {source}")
    kind = cast(Literal["full", "delta"] | None, prompts)
    rule = by_tokenizer(tokenizer) if tokenizer else by_characters(characters_per_token)
    found = load_trajectories(source, Reading(skip_bad, idle_cap_s, block_tokens, kind, rule))
    if "skipped" in found.provenance:
        say(f"skipped: {found.provenance['skipped']}")
    write_set(replace(found, name=name) if name else found, out)


@trajectories.command("generate")
def generate_set(
    out: Target,
    like: Annotated[str | None, typer.Option("--like", metavar="SET", help="Draw runs like those of this set.", show_default=False)] = None,
    count: Annotated[
        int | None,
        typer.Option("--trajectories", "-t", min=1, help="Trajectories to draw; 400, or as many as the set has.", show_default=False),
    ] = None,
    seed: Seed = 0,
    sub_agents: Annotated[bool, typer.Option("--sub-agents", help="Let some runs fan out to parallel sub-agents (assumed).")] = False,
) -> None:
    """Draw trajectories like those of a set, beside which they are shown; without one, like those of AA-AgentPerf."""
    from simulator.cli.screen import show_sheets
    from simulator.report.profiles import statistics_sheet
    from simulator.report.set_tables import two_sample_sheet
    from simulator.workload.generate import FanOut, generate
    from simulator.workload.like import generate_like
    from simulator.workload.load import load_trajectories
    from simulator.workload.statistics import AGENTPERF_TARGETS, statistics
    from simulator.workload.two_sample import compare_sets

    refuse_name(out)
    if like is None:
        drawn = generate(count or 400, seed, fan_out=FanOut() if sub_agents else None)
        _save(drawn, out)
        show_sheets([statistics_sheet(drawn.name, statistics(drawn, None if sub_agents else AGENTPERF_TARGETS))])
        return
    if sub_agents:
        raise typer.BadParameter("--sub-agents goes without --like: a set's own sub-agents are drawn with its calls")
    found = load_trajectories(like)
    drawn = generate_like(found, count, seed)
    _save(drawn, out)
    show_sheets([two_sample_sheet(found, drawn, compare_sets(found, drawn))])


@trajectories.command("mix")
def mix_sets(
    sources: Annotated[
        list[str], typer.Argument(metavar="SET[=WEIGHT]...", help="Sets and their weights, 1 by default.", show_default=False)
    ],
    out: Target,
    count: Annotated[int | None, typer.Option("--trajectories", "-t", min=1, help="Trajectories in all.", show_default=False)] = None,
    seed: Seed = 0,
) -> None:
    """Draw a set from several by weight, for example `mix weka.jsonl.gz=2 agentperf_like out.jsonl.gz`."""
    from simulator.workload.load import load_trajectories
    from simulator.workload.mix import mix

    refuse_name(out)
    parts = [_weighted(source) for source in sources]
    write_set(mix([(load_trajectories(ref), weight) for ref, weight in parts], count, seed), out)


@trajectories.command("scale")
def scale_set(source: Source, out: Target, tool_time: Factor = 1.0, prompt: Factor = 1.0, output: Factor = 1.0) -> None:
    """Make waits, prompts or answers longer or shorter by a factor."""
    from simulator.workload.load import load_trajectories
    from simulator.workload.operations import scale

    refuse_name(out)
    write_set(scale(load_trajectories(source), tool_time, prompt, output), out)


Least = Annotated[int | None, typer.Option(min=0, help="At least so many.", show_default=False)]
Most = Annotated[int | None, typer.Option(min=0, help="At most so many.", show_default=False)]


@trajectories.command("filter")
def filter_set(
    source: Source,
    out: Target,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="May be repeated; equal names: any of them.", show_default=False),
    ] = None,
    min_calls: Least = None,
    max_calls: Most = None,
    min_prompt: Least = None,
    max_prompt: Most = None,
    sub_agents: Annotated[bool | None, typer.Option(help="Only runs with sub-agents, or without.", show_default=False)] = None,
) -> None:
    """Keep the trajectories with given labels and lengths (prompt: tokens of the longest one)."""
    from simulator.workload.load import load_trajectories
    from simulator.workload.operations import Bounds, keep

    refuse_name(out)
    wanted: dict[str, list[str]] = {}
    for label in labels or []:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--label takes NAME=VALUE, not {label!r}")
        wanted.setdefault(name, []).append(value)
    write_set(keep(load_trajectories(source), wanted, Bounds(min_calls, max_calls, min_prompt, max_prompt, sub_agents)), out)


@trajectories.command("dedupe")
def dedupe_set(
    source: Source,
    out: Target,
    times_aside: Annotated[bool, typer.Option("--times-aside", help="Runs of equal lengths are the same whatever their waits.")] = False,
) -> None:
    """Keep one of each group of trajectories with the same numbers."""
    from simulator.workload.load import load_trajectories
    from simulator.workload.operations import dedupe

    refuse_name(out)
    write_set(dedupe(load_trajectories(source), times_aside), out)


@trajectories.command("anonymise")
def anonymise_set(
    source: Source,
    out: Target,
    keep: Annotated[list[str] | None, typer.Option("--keep", metavar="LABEL", help="A label that stays.", show_default=False)] = None,
    name: Annotated[str, typer.Option("--name", help="Of the new set.")] = "anonymous",
) -> None:
    """Numbers only, to share: new ids in another order, no labels but those kept, no tool names, no origin."""
    from simulator.workload.load import load_trajectories
    from simulator.workload.operations import anonymise

    refuse_name(out)
    write_set(anonymise(load_trajectories(source), name, keep or ()), out)


def _weighted(text: str) -> tuple[str, float]:
    """``SET=WEIGHT``, where what follows the last ``=`` is a number; else all of it names the set."""
    ref, equals, weight = text.rpartition("=")
    try:
        return (ref, float(weight)) if equals and ref else (text, 1.0)
    except ValueError:
        return text, 1.0


def refuse_name(out: Path) -> None:
    """Before anything is read: a native file is known by its name too, and its place is one that can be written."""
    from simulator.cli.files import refuse_places
    from simulator.errors import Mistake, UserError

    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise UserError(Mistake(str(out), "OUT", repr(out.name), "a name that ends in .jsonl or .jsonl.gz"))
    refuse_places(out)


def _save(found: TrajectorySet, out: Path) -> None:
    from simulator.cli.files import write_bytes
    from simulator.cli.screen import say
    from simulator.workload.native import native_bytes

    content = native_bytes(found, packed=out.suffix == ".gz")
    write_bytes(out, content)
    say(f"written: {out} ({len(content):,} bytes)")


def write_set(found: TrajectorySet, out: Path) -> None:
    """Writes a set and shows what is in it and where it came from."""
    from simulator.cli.screen import show_sheets
    from simulator.report.set_tables import set_sheet

    _save(found, out)
    show_sheets([set_sheet(found)])
