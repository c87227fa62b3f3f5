"""A deployment whose step-time law comes from aiconfigurator's operator tables: sampled, fitted, and told with its provenance.

Inputs are the names that a user gives; `aic_overlay.py` writes the YAML.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.calibration.aic import ENGINES, MODES, Layout, OperatorTables, require_aic
from simulator.calibration.aic_cells import Cell, Worker, sample
from simulator.calibration.aic_fit import Fit, fit_law
from simulator.calibration.aic_names import models, systems
from simulator.calibration.aic_overlay import overlay
from simulator.errors import Mistake, UserError
from simulator.hardware.load import load_model, load_system
from simulator.hardware.model_card import ModelCard


@dataclass(frozen=True)
class Ask:
    """What a user asks for. ``tp`` or ``dp`` is the width of the worker, the other is 1; ``ep`` 0 stands for the usual width of experts."""

    system: str
    model: str
    engine: str = "vllm"
    tp: int = 1
    dp: int = 1
    ep: int = 0
    weights: str = ""
    estimates: bool = False
    extends: str = ""


@dataclass(frozen=True)
class Derived:
    """A fitted deployment.

    Attributes
    ----------
    source : str
        What the coefficients rest on: versions, date, cells and errors, in one line.
    missing : tuple of str
        Cells that the tables do not know, and why.
    text : str
        The YAML.
    """

    name: str
    title: str
    worker: Worker
    cells: tuple[Cell, ...]
    fit: Fit
    source: str
    missing: tuple[str, ...]
    text: str


def derive(ask: Ask, today: str = "") -> Derived:
    """Sample the tables, fit the law, write the deployment.

    Raises
    ------
    UserError
        When the extra is missing, a name is unknown, the layout is none, or the tables do not cover the set-up.
    """
    version = require_aic()
    _refuse_layout(ask)
    (system_name, theirs), (model_name, weights, checkpoint) = systems(ask.system), models(ask.model, ask.weights)
    system, card = load_system(system_name), load_model(model_name)
    layout, mode = aic_layout(ask, card), MODES[1] if ask.estimates else MODES[0]
    try:
        tables = OperatorTables(theirs, checkpoint, ask.engine, layout, mode=mode)
        worker = Worker(system, card, "dp" if ask.dp > 1 else "tp", layout.gpus, weights, *stored(card, tables.modes))
    except Exception as error:  # the SDK raises whatever the missing table meets
        raise _not_covered(ask, str(error)) from error
    cells, missing = sample(worker, tables)
    try:
        fit = fit_law(worker, cells)
    except ValueError as error:
        raise _not_covered(ask, f"{error}; {missing[0]}" if missing else f"{error}: the weights do not fit {layout.gpus} GPUs") from error
    date = today or datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    kind = "measured tables" if mode == MODES[0] else "measured tables, its estimates where an operator was not measured"
    source = (
        f"aiconfigurator {version}, {kind}: {ask.engine} {tables.version} on {theirs}, {checkpoint}, {layout}, read {date}; {told(fit)}"
    )
    shape = f"{worker.attention.replace('dp', 'dep')}{worker.gpus}"
    kind = "" if (model_name, weights) == models(model_name)[:2] else f"{weights}_"
    name = f"{system_name}_{model_name}_{kind}{shape}_{ask.engine}"
    title = f"{card.title} on {system.title}, {shape.upper()}, law from {ask.engine}'s operator tables"
    text = overlay(name, title, worker, fit, tables.modes, source, engine=ask.engine, extends=ask.extends, estimated=ask.estimates)
    return Derived(name, title, worker, tuple(cells), fit, source, tuple(missing), text)


def told(fit: Fit) -> str:
    """Cells and errors by phase in one line."""
    words = {"fit": "fitted", "check": "held out"}
    return "; ".join(
        f"{found.cells} {phase} cells {words[split]}, median {100 * found.median:.1f} %, at most {100 * found.worst:.0f} %"
        for (phase, split), found in fit.errors.items()
    )


def aic_layout(ask: Ask, card: ModelCard) -> Layout:
    """The widths in aiconfigurator's terms: under tensor parallelism experts are cut as well unless ``ep`` says otherwise."""
    gpus = ask.tp * ask.dp
    if card.dense:
        return Layout(ask.tp, ask.dp)
    ep = ask.ep or (gpus if ask.dp > 1 else 1)
    return Layout(ask.tp, ask.dp, gpus // ep, ep)


def stored(card: ModelCard, modes: Mapping[str, str]) -> tuple[str, str]:
    """How KV entries and indexer keys are stored, by what the tables were measured with and what the card knows."""
    narrow = "packed_fp8" if "packed_fp8" in card.kv_entry_bytes else "fp8"
    wide = modes["kvcache"] != "fp8" and "bf16" in card.kv_entry_bytes
    index = next((kind for kind in ("fp8", "fp4", "bf16") if kind in card.index_entry_bytes), "none")
    return "bf16" if wide else narrow, index


def _refuse_layout(ask: Ask) -> None:
    """What our law cannot say, or no worker is."""
    if ask.engine not in ENGINES:
        raise UserError(Mistake("--engine", "", repr(ask.engine), ", ".join(ENGINES)))
    if ask.tp > 1 and ask.dp > 1:
        whole = "a worker is tensor-parallel or attention-data-parallel, not both"
        raise UserError(Mistake("--tp, --dp", "", f"{ask.tp} and {ask.dp}", "one of them above 1", whole))
    if ask.ep and (ask.tp * ask.dp) % ask.ep:
        raise UserError(Mistake("--ep", "", str(ask.ep), f"a divisor of the worker's {ask.tp * ask.dp} GPUs"))


def _not_covered(ask: Ask, why: str) -> UserError:
    """The tables lack something: say what, and what to try."""
    hint = "try another --engine or layout" if ask.estimates else "--estimates lets aiconfigurator estimate what it has not measured"
    return UserError(Mistake("aiconfigurator", f"{ask.engine} on {ask.system}", " ".join(why.split())[:300], "", hint))
