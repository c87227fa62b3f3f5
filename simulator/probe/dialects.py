"""What engines call their metrics. Inputs are samples of their ``/metrics`` pages.

Names are those of vLLM 0.32.0, SGLang 0.5.23, llama.cpp (build of 2026-10), TensorRT-LLM and Dynamo 1.6.1, with older names of vLLM after
them. Values are summed over label sets (ranks, engines, models); of a KV cache's use the fullest counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.calibration.cell import METRICS
from simulator.probe.prometheus import Sample


@dataclass(frozen=True)
class Source:
    """Where a number stands: the first of the names that is there, only under the label where one is given."""

    names: tuple[str, ...]
    label: tuple[str, str] | None = None


@dataclass(frozen=True)
class Dialect:
    """An engine's names: counters by the names of `METRICS`, and the gauges ``running``, ``waiting`` and ``kv_use``."""

    name: str
    prefix: str
    counters: dict[str, Source]
    gauges: dict[str, Source] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """All that is looked for."""
        return frozenset(name for source in (*self.counters.values(), *self.gauges.values()) for name in source.names)


def _mean(stem: str, name: str, *older: str, label: tuple[str, str] | None = None) -> dict[str, Source]:
    """Sum and count of a histogram."""
    return {
        f"{stem}_{kind}": Source(tuple(f"{n}_{tail}" for n in (name, *older)), label) for kind, tail in (("s", "sum"), ("count", "count"))
    }


VLLM = Dialect(
    "vllm",
    "vllm:",
    {
        **_mean("prefill", "vllm:request_prefill_time_seconds"),
        **_mean("decode", "vllm:request_decode_time_seconds"),
        **_mean("queue", "vllm:request_queue_time_seconds"),
        **_mean("ttft", "vllm:time_to_first_token_seconds"),
        **_mean("tpot", "vllm:request_time_per_output_token_seconds", "vllm:time_per_output_token_seconds"),
        "prompt_tokens": Source(("vllm:prompt_tokens_total",)),
        "output_tokens": Source(("vllm:generation_tokens_total",)),
        "cached_tokens": Source(("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")),
        "queried_tokens": Source(("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")),
        "preemptions": Source(("vllm:num_preemptions_total",)),
        "steps": Source(("vllm:iteration_tokens_total_count",)),
    },
    {
        "running": Source(("vllm:num_requests_running",)),
        "waiting": Source(("vllm:num_requests_waiting",)),
        "kv_use": Source(("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")),
    },
)
SGLANG = Dialect(
    "sglang",
    "sglang:",
    {
        **_mean("prefill", "sglang:per_stage_req_latency_seconds", label=("stage", "prefill_forward")),
        **_mean("queue", "sglang:queue_time_seconds"),
        **_mean("ttft", "sglang:time_to_first_token_seconds"),
        **_mean("tpot", "sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
        "prompt_tokens": Source(("sglang:prompt_tokens_total",)),
        "output_tokens": Source(("sglang:generation_tokens_total",)),
        "cached_tokens": Source(("sglang:cached_tokens_total",)),
        "queried_tokens": Source(("sglang:prompt_tokens_total",)),
        "preemptions": Source(("sglang:num_retracted_requests_total",)),
    },
    {
        "running": Source(("sglang:num_running_reqs",)),
        "waiting": Source(("sglang:num_queue_reqs",)),
        "kv_use": Source(("sglang:token_usage",)),
    },
)
LLAMACPP = Dialect(
    "llamacpp",
    "llamacpp:",
    {
        "prefill_s": Source(("llamacpp:prompt_seconds_total",)),
        "decode_s": Source(("llamacpp:tokens_predicted_seconds_total",)),
        "prefilled_tokens": Source(("llamacpp:prompt_tokens_total",)),
        "output_tokens": Source(("llamacpp:tokens_predicted_total",)),
        "steps": Source(("llamacpp:n_decode_total",)),
    },
    {"running": Source(("llamacpp:requests_processing",)), "waiting": Source(("llamacpp:requests_deferred",))},
)
TRTLLM = Dialect(
    "trtllm",
    "trtllm_",
    {
        **_mean("queue", "trtllm_request_queue_time_seconds"),
        **_mean("ttft", "trtllm_time_to_first_token_seconds"),
        **_mean("tpot", "trtllm_time_per_output_token_seconds"),
    },
    {"running": Source(("trtllm_num_requests_running",)), "kv_use": Source(("trtllm_kv_cache_utilization",))},
)
DYNAMO = Dialect(
    "dynamo",
    "dynamo_frontend_",
    {
        **_mean("ttft", "dynamo_frontend_time_to_first_token_seconds"),
        **_mean("tpot", "dynamo_frontend_inter_token_latency_seconds"),
    },
    {"running": Source(("dynamo_frontend_inflight_requests",)), "waiting": Source(("dynamo_frontend_queued_requests",))},
)
DIALECTS = (VLLM, SGLANG, LLAMACPP, TRTLLM, DYNAMO)
"""In the order in which they are recognised: what an engine says comes before what a frontend says of it."""

assert all(name in METRICS for dialect in DIALECTS for name in dialect.counters)


def dialect_of(text: str) -> Dialect | None:
    """Whose page it is."""
    lines = text.splitlines()
    return next((dialect for dialect in DIALECTS if any(line.startswith(dialect.prefix) for line in lines)), None)


def counters_of(dialect: Dialect, samples: Sequence[Sample]) -> dict[str, float]:
    """The counters that are there, by the names of `METRICS`."""
    found = {name: _values(source, samples) for name, source in dialect.counters.items()}
    return {name: sum(values) for name, values in found.items() if values}


def gauges_of(dialect: Dialect, samples: Sequence[Sample]) -> dict[str, float]:
    """The gauges that are there."""
    found = {name: _values(source, samples) for name, source in dialect.gauges.items()}
    return {name: max(values) if name == "kv_use" else sum(values) for name, values in found.items() if values}


def _values(source: Source, samples: Sequence[Sample]) -> list[float]:
    for name in source.names:
        values = [
            sample.value
            for sample in samples
            if sample.name == name and (source.label is None or sample.labels.get(source.label[0]) == source.label[1])
        ]
        if values:
            return values
    return []
