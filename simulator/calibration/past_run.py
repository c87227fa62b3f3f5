"""Requests of a benchmark that somebody has run already, out of its own file. Inputs: a file of AIPerf, of vLLM's benchmark, or a CSV.

Formats (docs/calibration.md): AIPerf's ``profile_export.jsonl``; the JSON of ``vllm bench serve --save-result --save-detailed``; a CSV with
a row a request (`CSV_COLUMNS`). Which one it is shows in its content.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.workload.aiperf_export import is_aiperf_export
from simulator.workload.records import Reading, Records, Row
from simulator.workload.source import Source

CSV_COLUMNS = ("start_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens")
CSV_OPTIONAL = ("cached_tokens", "conversation", "model", "error")
VLLM_ARRAYS = ("input_lens", "output_lens", "ttfts", "itls", "start_times")
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}

BURST_S = 0.0002
"""Tokens less than this apart on average came in one burst, as in `simulator.probe.answer`: their times say nothing of decoding."""


@dataclass(frozen=True)
class PastRequest:
    """One request that went well; seconds on any clock that all requests of the file share, None for what the file does not say.

    Attributes
    ----------
    start_s, first_s, end_s : float
        Sent, first token, last token.
    tpot_s : float or None
        Seconds per output token after the first; None for one token, and where tokens came in bursts.
    prompt_tokens, output_tokens : int
    cached_tokens : int or None
    conversation : str
        Requests that share it follow each other and extend one prompt; empty for a request of its own.
    measured : bool
        False for warm-up, which is load and says nothing.
    """

    start_s: float
    first_s: float
    end_s: float
    tpot_s: float | None
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    conversation: str = ""
    measured: bool = True


@dataclass(frozen=True)
class PastRun:
    """A file: its good requests in order of start, how many failed, and the model it names."""

    name: str
    requests: tuple[PastRequest, ...]
    failed: int
    model: str = ""


def read_past_run(path: Path) -> PastRun:
    """Reads a file.

    Raises
    ------
    UserError
        When it is none of the formats, a record is bad, or no request of it went well.
    """
    if not path.is_file():
        raise UserError(Mistake(str(path), "", "no such file", "a file of requests: of AIPerf, of vllm bench serve, or a CSV"))
    records = Records(path, Reading())
    found: list[PastRequest | None] = []
    models: list[str] = []
    for source in records.sources((), lambda rows: True):
        for request, model in _requests(records, source):
            found.append(request)
            models.append(model)
    records.end()
    good = sorted((request for request in found if request is not None), key=lambda request: request.start_s)
    if not any(request.measured for request in good):
        raise UserError(Mistake(str(path), "", f"{len(found)} requests, none of which went well and was measured", "a run that went well"))
    return PastRun(path.name, tuple(good), len(found) - len(good), next((model for model in models if model), ""))


def _requests(records: Records, source: Source) -> Iterator[tuple[PastRequest | None, str]]:
    """Requests of a file, None for one that failed, with their model."""
    first = source.first_rows()
    if is_aiperf_export(first):
        for row in records.rows(source):
            with records.record():
                yield _aiperf(row), row.inner("metadata").text("model", "")
    elif first and isinstance(first[0], dict) and {"ttfts", "itls", "input_lens", "mean_ttft_ms"} & first[0].keys():
        yield from _vllm(records.document(source))
    elif first and isinstance(first[0], list) and any(column in first[0] for column in CSV_COLUMNS[:3]):
        _check_header(source, [str(cell) for cell in first[0]])
        for row in records.table(source):
            with records.record():
                yield _csv(row), row.text("model", "")
    else:
        allowed = f"AIPerf's profile_export.jsonl, the JSON of vllm bench serve --save-detailed, or a CSV with {', '.join(CSV_COLUMNS)}"
        raise UserError(Mistake(source.place, "", "no format that is known", allowed))


def _request(
    row: Row, start_s: float, ttft_s: float, latency_s: float, prompt: int, output: int, *, decode_s: float | None = None, **more: Any
) -> PastRequest:
    """A request by its durations; ``decode_s`` is the time from the first to the last token where the file has a better one."""
    if latency_s < ttft_s:
        raise UserError(
            Mistake(
                row.file, f"{row.place}latency", f"{latency_s:g} s", f"at least the time to the first token, {ttft_s:g} s", line=row.line
            )
        )
    tpot_s = None if output < 2 else (latency_s - ttft_s if decode_s is None else decode_s) / (output - 1)
    if tpot_s is not None and tpot_s < BURST_S:
        tpot_s = None
    return PastRequest(start_s, start_s + ttft_s, start_s + latency_s, tpot_s, prompt, output, **more)


def _aiperf(row: Row) -> PastRequest | None:
    about = row.inner("metadata")
    if row.values.get("error") or about.values.get("was_cancelled"):
        return None
    metrics = row.inner("metrics")
    start_s = about.number("request_start_ns") / 1e9
    if metrics.values.get("time_to_first_token") is None:
        metrics.refuse("time_to_first_token", "the time to the first token", "run AIPerf with --streaming")
    ttft_s, latency_s = _seconds(metrics, "time_to_first_token"), _seconds(metrics, "request_latency")
    prompt = _count(metrics, "usage_prompt_tokens", "input_sequence_length")
    output = _count(metrics, "usage_completion_tokens", "output_sequence_length")
    cached = metrics.inner("usage_prompt_cache_read_tokens", None)
    between = _seconds(metrics, "inter_token_latency") if metrics.values.get("inter_token_latency") is not None else 0.0
    return _request(
        row, start_s, ttft_s, latency_s, prompt, output,
        decode_s=between * (output - 1) if between > 0 else None,
        cached_tokens=None if cached is None else min(cached.whole("value"), prompt),
        conversation=about.text("x_correlation_id", None) or about.text("conversation_id", ""),
        measured=about.text("benchmark_phase", "profiling") == "profiling",
    )  # fmt: skip


def _seconds(metrics: Row, name: str) -> float:
    metric = metrics.inner(name)
    unit = metric.text("unit", "ms")
    if unit not in SECONDS:
        metric.refuse("unit", ", ".join(SECONDS))
    return float(metric.number("value")) * SECONDS[unit]


def _count(metrics: Row, *names: str) -> int:
    """The first of some metrics that is there, at least 1."""
    for name in names:
        metric = metrics.inner(name, None)
        if metric is not None:
            return int(metric.whole("value", 1))
    return int(metrics.whole(names[0], 1))


def _vllm(row: Row) -> Iterator[tuple[PastRequest | None, str]]:
    """The requests of one result of ``vllm bench serve``, whose arrays stand side by side."""
    for name in VLLM_ARRAYS:
        if not isinstance(row.values.get(name), list):
            older = " of a version that writes start times" if name == "start_times" else ""
            row.refuse(name, "a list with an entry a request", f"run vllm bench serve{older} with --save-result --save-detailed")
    sizes = {name: len(row.values[name]) for name in (*VLLM_ARRAYS, "errors") if isinstance(row.values.get(name), list)}
    for name, size in sizes.items():
        if size != sizes["input_lens"]:
            raise UserError(Mistake(row.file, name, f"{size} entries", f"{sizes['input_lens']}, as input_lens has"))
    errors = row.values.get("errors") or [""] * sizes["input_lens"]
    model = row.text("model_id", "")
    for number, error in enumerate(errors):
        entry = Row(row.file, 0, {name: row.values[name][number] for name in VLLM_ARRAYS}, f"[{number}].")
        output = entry.whole("output_lens")
        if error or not output:
            yield None, model
            continue
        gaps = entry.values["itls"]
        if not isinstance(gaps, list) or not all(isinstance(gap, int | float) and 0 <= gap < 1e9 for gap in gaps):
            entry.refuse("itls", "a list of seconds >= 0")
        ttft_s = entry.number("ttfts")
        yield _request(entry, entry.number("start_times"), ttft_s, ttft_s + sum(gaps), entry.whole("input_lens", 1), output), model


def _check_header(source: Source, header: list[str]) -> None:
    missing = [name for name in CSV_COLUMNS if name not in header]
    if missing:
        allowed = f"the columns {', '.join(CSV_COLUMNS)}; also, if known, {', '.join(CSV_OPTIONAL)}"
        raise UserError(Mistake(source.place, ", ".join(missing), "no such column", allowed, line=1))


def _csv(row: Row) -> PastRequest | None:
    if row.values.get("error") not in (None, 0, ""):
        return None
    prompt, cached = row.whole("prompt_tokens", 1), row.whole("cached_tokens", 0, None)
    if cached is not None and cached > prompt:
        row.refuse("cached_tokens", f"at most the prompt, {prompt}")
    return _request(
        row, row.number("start_s"), row.number("ttft_s"), row.number("latency_s"), prompt, row.whole("output_tokens", 1),
        cached_tokens=cached, conversation=row.text("conversation", ""),
    )  # fmt: skip
