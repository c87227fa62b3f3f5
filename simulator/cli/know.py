"""The command `profiles` of the panel *Know*: what ships, and checks of one's own. Inputs are names and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.derive import derive_profile

if TYPE_CHECKING:
    from simulator.hardware.deployment import Deployment
    from simulator.hardware.model_card import ModelCard
    from simulator.hardware.preset import Preset
    from simulator.hardware.system import System

profiles = typer.Typer(help="Systems, models, engines and deployments: list, show, check, derive.", invoke_without_command=True)
profiles.command("derive")(derive_profile)

KINDS = ("systems", "models", "engines", "deployments")
COMPUTED = ("models", "deployments")
"""Kinds of profile from which something is computed."""


@profiles.callback()
def profiles_default(ctx: typer.Context) -> None:
    """Systems, models, engines and deployments: list, show, check."""
    if ctx.invoked_subcommand is None:
        list_profiles()


@profiles.command("list")
def list_profiles() -> None:
    """The shipped profiles, with the worst quality of each one's fields."""
    from simulator.catalog import names
    from simulator.cli.screen import show_sheets
    from simulator.report.profiles import profiles_sheet

    show_sheets([profiles_sheet(kind.capitalize(), [_load(kind, name) for name in names(kind)]) for kind in KINDS])


@profiles.command("show")
def show_profile(
    name: Annotated[str, typer.Argument(help="A shipped profile's name, or a path to a YAML file.", show_default=False)],
) -> None:
    """Every field of a profile with unit, quality and source, and what is computed from them."""
    from simulator.cli.screen import show_sheets
    from simulator.report.profiles import computed_sheet, fields_sheet

    kind = _kind_of(name)
    profile = _load(kind, name)
    show_sheets([fields_sheet(profile), *([computed_sheet(profile)] if kind in COMPUTED else [])])  # type: ignore[arg-type]


@profiles.command("check")
def check_profile(
    file: Annotated[Path, typer.Argument(help="A YAML file of a system, a model, an engine preset or a deployment.", show_default=False)],
) -> None:
    """Read a profile and report every mistake in it, with file, line, field and remedy."""
    from collections import Counter

    kind = _kind_of(str(file))
    profile = _load(kind, str(file))
    found = Counter(field.quality for field in profile.fields.values())
    counts = ", ".join(f"{count} {quality}" for quality, count in found.items())
    print(f"{file}: a good profile ({kind}), {len(profile.fields)} fields: {counts}")


@profiles.command("pairs")
def list_pairs() -> None:
    """Which systems hold which models: the smallest worker that serves a pair when nobody gives its layout."""
    from simulator.catalog import names
    from simulator.cli.screen import show_sheets
    from simulator.hardware.load import load_model, load_system
    from simulator.report.pairs import pairs_sheet

    show_sheets([pairs_sheet([load_system(name) for name in names("systems")], [load_model(name) for name in names("models")])])


def _is_path(ref: str) -> bool:
    return ref.endswith((".yaml", ".yml"))


def _kind_of(ref: str) -> str:
    """Which kind of profile a name or file is: where the name ships, or whose fields the file has most of."""
    from simulator.catalog import names, nearest
    from simulator.errors import Mistake, UserError

    if _is_path(ref):
        return _kind_by_fields(Path(ref))
    known = {name: kind for kind in KINDS for name in names(kind)}
    if ref not in known:
        raise UserError(
            Mistake("profiles", "name", repr(ref), ", ".join(known) + ", or a path that ends in .yaml", nearest(ref, list(known)))
        )
    return known[ref]


def _kind_by_fields(path: Path) -> str:
    """The kind whose schema shares most keys with the file, or that ships what the file extends."""
    from simulator.catalog import names
    from simulator.document import read
    from simulator.errors import UserError
    from simulator.hardware.schemas import DEPLOYMENT, ENGINE, MODEL, SYSTEM

    try:
        _, raw = read(path, KINDS[0], [])
    except UserError:
        return KINDS[0]  # the reader of this kind says what is wrong
    parent = str(raw["extends"].value) if "extends" in raw else ""
    score = {kind: len(raw.keys() & set(schema)) for kind, schema in zip(KINDS, (SYSTEM, MODEL, ENGINE, DEPLOYMENT), strict=True)}
    return max(KINDS, key=lambda kind: (parent in names(kind), score[kind]))


def _load(kind: str, ref: str) -> System | ModelCard | Preset | Deployment:
    from simulator.hardware.load import load_deployment, load_engine, load_model, load_system

    if kind == "systems":
        return load_system(ref)
    if kind == "engines":
        return load_engine(ref)
    return load_model(ref) if kind == "models" else load_deployment(ref)
