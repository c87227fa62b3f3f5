"""NVIDIA aiconfigurator's measured operator tables, asked for the time of one step or of a served load.

The inputs come with the package `aiconfigurator` (extra ``aic``): latencies of single operators measured by GPU, engine and version, which
it adds up to decode steps and prefill chunks. Only its SDK is called, no file of it is read; see docs/aiconfigurator.md.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from simulator.errors import Mistake, UserError

ENGINES = ("sglang", "trtllm", "vllm")
MODES = ("SILICON", "HYBRID")
"""Measured tables only, or with aiconfigurator's estimates where an operator was not measured."""

REMEDY = "pip install 'agentwatt[aic]'"


@dataclass(frozen=True)
class Layout:
    """Widths as aiconfigurator counts them: ``dp`` groups of ``tp`` GPUs; for experts ``ep`` groups of ``moe_tp`` of them."""

    tp: int = 1
    dp: int = 1
    moe_tp: int = 1
    ep: int = 1

    @property
    def gpus(self) -> int:
        """Accelerators of one worker."""
        return self.tp * self.dp

    def __str__(self) -> str:
        return f"tp{self.tp} dp{self.dp} moe_tp{self.moe_tp} ep{self.ep}"


@dataclass(frozen=True)
class Precision:
    """aiconfigurator's quantisation modes; empty ones are inferred from the checkpoint's config."""

    gemm: str = ""
    moe: str = ""
    kv: str = ""


class OperatorTables:
    """Step times of one model on one system under one engine and layout.

    Parameters
    ----------
    system, model, engine : str
        aiconfigurator's names: ``h200_sxm``, ``deepseek-ai/DeepSeek-R1``, ``sglang``.
    mode : str
        One of `MODES`.

    Raises
    ------
    UserError
        When the extra is missing.
    """

    def __init__(
        self, system: str, model: str, engine: str, layout: Layout, precision: Precision | None = None, mode: str = "SILICON"
    ) -> None:
        require_aic()
        self.system, self.model, self.engine, self.layout, self.mode = system, model, engine, layout, mode
        self.precision = precision or Precision()
        self.version = database_version(system, engine)

    def decode_s(self, batch: int, context_tokens: int) -> float:
        """One decode step of ``batch`` sequences per rank, each behind ``context_tokens`` tokens."""
        return self._static_ms("static_gen", "tpot", batch_size=batch, isl=context_tokens, osl=2) / 1e3

    def prefill_s(self, chunk_tokens: int, prefix_tokens: int = 0) -> float:
        """One prefill chunk of every rank behind ``prefix_tokens`` computed tokens."""
        both = chunk_tokens + prefix_tokens
        return self._static_ms("static_ctx", "ttft", batch_size=1, isl=both, osl=1, prefix=prefix_tokens) / 1e3

    def experts_s(self, chunk_tokens: int) -> float:
        """The part of such a chunk that is its routed experts' arithmetic, over all layers: what a rank does when all are as busy."""
        from aiconfigurator.sdk.config import RuntimeConfig

        summary = self._session.run_static(runtime_config=RuntimeConfig(batch_size=1, isl=chunk_tokens, osl=1), mode="static_ctx")
        return float(summary.get_context_latency_dict()["context_moe"]) / 1e3

    def served_ms(self, isl: int, osl: int, batch: int) -> tuple[float, float, bool]:
        """Its own TTFT and TPOT of ``batch`` concurrent requests per rank, served by mixed steps of ``isl`` prefill tokens.

        The third value says whether it finds the KV cache too small for the batch, in which case it does not model the queue.
        """
        from aiconfigurator.sdk.config import RuntimeConfig

        summary = self._session.run_agg(RuntimeConfig(isl=isl, osl=osl, batch_size=batch), ctx_tokens=isl)
        if summary.check_oom():
            raise ValueError("the model does not fit the GPU's memory")
        found = summary.get_result_dict()
        return float(found["ttft"]), float(found["tpot"]), bool(summary.check_kv_cache_oom())

    @property
    def modes(self) -> dict[str, str]:
        """Quantisation modes in use, by role."""
        config = self._session._model.config
        return {role: getattr(config, f"{role}_quant_mode").name for role in ("gemm", "moe", "kvcache", "fmha")}

    def _static_ms(self, mode: str, column: str, **shape: int) -> float:
        from aiconfigurator.sdk.config import RuntimeConfig

        summary = self._session.run_static(runtime_config=RuntimeConfig(**shape), mode=mode)
        return float(summary.get_result_dict()[column])

    @cached_property
    def _session(self) -> Any:
        """As aiconfigurator's own `cli_estimate` builds it, once instead of for every question."""
        from aiconfigurator.sdk import models
        from aiconfigurator.sdk.backends.factory import get_backend
        from aiconfigurator.sdk.config_builders import build_model_config
        from aiconfigurator.sdk.inference_session import InferenceSession
        from aiconfigurator.sdk.moe_comm_resolver import resolve_model_config_moe_comm
        from aiconfigurator.sdk.perf_database import get_database_view

        layout, precision = self.layout, self.precision
        config = build_model_config(
            layout.tp, 1, layout.dp, layout.moe_tp, layout.ep, precision.gemm or None, precision.kv or None, None, precision.moe or None
        )
        database = get_database_view(
            self.system, self.engine, self.version, allow_missing_data=self.mode != "SILICON", database_mode=self.mode
        )
        if database is None:
            raise ValueError(f"no tables of {self.engine} {self.version} on {self.system}")
        if models.check_is_moe(self.model):
            resolve_model_config_moe_comm(
                config, model_path=self.model, backend_name=self.engine, database=database, required_phases=("context", "generation")
            )
        if config.moe_comm_backend is None:
            models.resolve_context_fmha_by_data(config, self.model, database, self.engine, is_context_role=True)
        models.resolve_dsv4_moe_arch(config, self.model, system_name=self.system, backend_name=self.engine)
        models.resolve_nvfp4_for_system(config, self.system, self.model, backend_name=self.engine)
        return InferenceSession(models.get_model(self.model, config, self.engine), database, get_backend(self.engine))


def require_aic() -> str:
    """Version of the installed aiconfigurator, whose warnings are silenced.

    Raises
    ------
    UserError
        When it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("aiconfigurator")
    except PackageNotFoundError:
        raise UserError(Mistake("aiconfigurator", "", "not installed", hint=f"install the extra: {REMEDY}")) from None
    for name in ("aiconfigurator", "aiconfigurator_core"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return found


def database_version(system: str, engine: str) -> str:
    """The engine version whose tables aiconfigurator answers from: its newest complete one."""
    from aiconfigurator.sdk.perf_database import get_latest_database_version

    found = get_latest_database_version(system=system, backend=engine)
    if found is None:
        raise ValueError(f"no tables of {engine} on {system}")
    return str(found)
