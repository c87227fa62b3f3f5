"""The YAML of a deployment whose law was fitted to operator tables, each field with source and quality. Inputs: the fit and its worker."""

from collections.abc import Mapping

from simulator.calibration.aic_cells import Worker
from simulator.calibration.aic_fit import Fit
from simulator.hardware.deployment import LawCoefficients
from simulator.hardware.schemas import DEPLOYMENT

LAW = ("floor_s", "routing_skew", "hbm_efficiency", "kv_efficiency", "decode_token_s", "prefill_token_s", "prefill_pair_s")


def law_keys(law: LawCoefficients) -> tuple[str, ...]:
    """The coefficients that an overlay gives: the experts' part of a prompt token where ranks share it."""
    return (*LAW, "prefill_expert_s") if law.prefill_expert_s else LAW


Said = tuple[object, str, str]
"""A value, its source and its quality."""


def overlay(
    name: str,
    title: str,
    worker: Worker,
    fit: Fit,
    modes: Mapping[str, str],
    source: str,
    *,
    engine: str,
    extends: str = "",
    estimated: bool = False,
) -> str:
    """The deployment as YAML.

    Parameters
    ----------
    modes : mapping of str to str
        aiconfigurator's quantisation modes by role.
    extends : str
        A deployment that gives all but layout, types and law; its ``host_s`` and drafts stand.
    estimated : bool
        Whether some operators were estimated instead of measured, which makes the law so.
    """
    fields = _fields(worker, modes) | ({} if extends else _bare(engine))
    lines = [f"name: {name}", f"title: {title}", *([f"extends: {extends}"] if extends else []), "notes:"]
    lines += [f'  - "{note}"' for note in _notes(fit)]
    quality, anchor = "estimated" if estimated else "fitted", f'&tables "{source}"'
    for key in DEPLOYMENT:
        if key in fields:
            value, said, how_good = fields[key]
            lines.append(_line(key, value, f'"{said}"', how_good))
        elif key in law_keys(fit.law):
            lines.append(_line(key, getattr(fit.law, key), anchor, quality))
            anchor = "*tables"
    return "\n".join(lines) + "\n"


def compute_type(modes: Mapping[str, str], dense: bool) -> str:
    """The peak that FLOPs are counted against: what the tables' kernels of the bulk of the weights compute in."""
    kernel = modes["gemm" if dense else "moe"]
    if kernel == "nvfp4":
        return "fp4"
    return "fp8" if kernel.startswith(("fp8", "w4a8", "w4afp8")) else "bf16"


def _fields(worker: Worker, modes: Mapping[str, str]) -> dict[str, Said]:
    """Layout and types."""
    asked, tables = "asked for", f"as the tables have it: {', '.join(f'{role} {mode}' for role, mode in modes.items())}"
    fields: dict[str, Said] = {
        "system": (worker.system.name, asked, "datasheet"),
        "model": (worker.model.name, asked, "datasheet"),
        "workers": (1, "one worker; figures per GPU do not need more", "assumed"),
        "gpus_per_worker": (worker.gpus, asked, "assumed"),
        "attention": (worker.attention, asked, "assumed"),
        "ranks": (worker.ranks, asked, "assumed"),
        "ep": (worker.gpus, "experts lie on all GPUs of the worker, cut or whole", "assumed"),
        "weight_type": (worker.weight_type, "the checkpoint whose operators were measured", "estimated"),
        "compute_type": (compute_type(modes, worker.model.dense), tables, "estimated"),
        "kv_type": (worker.kv_type, tables, "estimated"),
    }
    if not worker.model.dense:
        fields["fitted_ep"] = (worker.gpus, "width that was sampled", "datasheet")
    if worker.model.attention.indexed:
        fields["index_type"] = (worker.index_type, "FP8 where the model's indexer keys may be so", "assumed")
    return fields


def _bare(engine: str) -> dict[str, Said]:
    """What a deployment that extends nothing says besides; all else is derived when it is loaded."""
    return {
        "engine": (engine, "the engine whose operators were measured", "estimated"),
        "drafts": (0, "the tables are sampled without drafts", "assumed"),
        "host_s": (0.0, "operator tables leave out what an engine adds between steps", "assumed"),
    }


def _notes(fit: Fit) -> list[str]:
    """What a reader of the result should know."""
    missing = "an engine's host work, imbalance and waiting"
    found = [f"Derived by agentwatt profiles derive: operators measured one by one and added up, without {missing}."]
    if fit.at_bound:
        found.append(f"At the bound that a profile allows: {', '.join(fit.at_bound)}.")
    return found


def _line(key: str, value: object, source: str, quality: str) -> str:
    """One field; YAML wants a dot before an exponent."""
    shown = f"{value:.4g}" if isinstance(value, float) else f"{value}"
    if isinstance(value, float) and "e" in shown and "." not in shown:
        shown = shown.replace("e", ".0e")
    unit = DEPLOYMENT[key].unit
    quoted = f'"{unit}"' if unit == "1" else unit
    return f"{key}: {{value: {shown}, unit: {quoted}, source: {source}, quality: {quality}}}"
