"""A recorded run played again, request by request: when each arrived, what it asked, and when its tokens came. Inputs are the files of
LLMServingSim's vLLM benches (``requests.jsonl``).

The law of the stack is fitted to one run and predicts another, of another model on more GPUs. A run is an open loop: each request is an
agent of its own that starts when the engine queued it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.calibration.predict import FOREVER_S
from simulator.capacity.fleet import engine_fleet, engine_pools
from simulator.engine.kernel import simulate_kernel
from simulator.engine.world import Stop, World, call_columns
from simulator.hardware.load import load_deployment, load_model, load_system
from simulator.hardware.memory import parameters, prompt_flops_line
from simulator.hardware.schemas import DEPLOYMENT
from simulator.units import PS_PER_S, to_ps
from simulator.workload.compile import compile_calls
from simulator.workload.trajectory import Call, Trajectory, TrajectorySet

ACTIVATION_BYTES = 2


@dataclass(frozen=True)
class Request:
    """A request of a run: seconds from the first one's, tokens, and its measured TTFT and time per output token."""

    queued_s: float
    input_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True)
class Run:
    """What was run: a model in BF16 under tensor parallelism, and vLLM's budgets."""

    system: str
    model: str
    tp: int
    token_budget: int
    max_seqs: int
    requests: tuple[Request, ...]


class StackTerms(NamedTuple):
    """The law of a stack in terms that travel between models and widths.

    Attributes
    ----------
    layer_s : float
        Launch floor of a layer.
    memory, gemm, attention : float
        Times over the datasheet's: reading weights and KV, multiplying prompts, attending over pairs.
    sequence_s : float
        Per decoding sequence of a step.
    collective_s, link : float
        Of an all-reduce: its latency, and times over the datasheet's link rate. A run on one GPU says nothing of them.
    """

    layer_s: float
    memory: float
    gemm: float
    attention: float
    sequence_s: float
    collective_s: float
    link: float


class Replayed(NamedTuple):
    """TTFT and time per output token of each request, in the run's order; NaN where one token came."""

    ttft_s: NDArray[np.float64]
    tpot_s: NDArray[np.float64]


def read_run(folder: Path, system: str, model: str) -> Run:
    """A run from its ``requests.jsonl`` and the engine arguments of its ``meta.json``."""
    arguments = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["engine_kwargs"]
    records = [json.loads(line) for line in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()]
    first = min(record["queued_ts"] for record in records)
    records.sort(key=lambda record: float(record["queued_ts"]))
    return Run(
        system=system,
        model=model,
        tp=arguments["tensor_parallel_size"],
        token_budget=arguments["max_num_batched_tokens"],
        max_seqs=arguments["max_num_seqs"],
        requests=tuple(_request(record, first) for record in records),
    )


def _request(record: Mapping[str, Any], first_s: float) -> Request:
    after = record["output_toks"] - 1
    return Request(
        queued_s=record["queued_ts"] - first_s,
        input_tokens=record["input_toks"],
        output_tokens=record["output_toks"],
        ttft_s=record["first_token_ts"] - record["queued_ts"],
        tpot_s=(record["last_token_ts"] - record["first_token_ts"]) / after if after else float("nan"),
    )


def replay_requests(run: Run, terms: StackTerms) -> Replayed:
    """Plays the recorded arrivals on the kernel."""
    system, model = load_system(run.system), load_model(run.model)
    deployment = load_deployment(_deployment(run, terms), system=system, model=model)
    runs = tuple(Trajectory(f"r{n}", (Call(0, r.input_tokens, r.output_tokens, 0.0),)) for n, r in enumerate(run.requests))
    compiled = compile_calls(
        TrajectorySet("replay", "recorded", 0, runs, {"origin": "a recorded run", "quality": "measured"}),
        block_tokens=deployment.block_tokens,
        stops=False,
    )
    fleet = engine_fleet(
        deployment,
        engine_pools(system, model, deployment),
        start_ps=np.array([to_ps(r.queued_s) for r in run.requests], dtype=np.int64),
        order=np.arange(len(run.requests), dtype=np.int64),
    )
    stop = Stop(0, 0, len(run.requests) + 1, 0, int(FOREVER_S * PS_PER_S), 1)
    output = simulate_kernel(World(compiled.calls, compiled.threads, compiled.tree, fleet, stop))
    calls = call_columns(output.calls[np.argsort(output.calls[:, 0])])
    after = np.where(calls["output_tokens"] > 1, calls["output_tokens"] - 1, np.nan)
    return Replayed(
        ttft_s=(calls["first_ps"] - calls["send_ps"]) / PS_PER_S,
        tpot_s=(calls["last_ps"] - calls["first_ps"]) / PS_PER_S / after,
    )


def measured(run: Run) -> Replayed:
    """What was measured, in the shape of a replay."""
    return Replayed(np.array([r.ttft_s for r in run.requests]), np.array([r.tpot_s for r in run.requests]))


def _deployment(run: Run, terms: StackTerms) -> Mapping[str, Any]:
    values = {
        "engine": "vllm",
        "system": run.system,
        "model": run.model,
        "speed_floor_tok_s": 1,
        "ttft_ceiling_s": 1000,
        "workers": 1,
        "gpus_per_worker": run.tp,
        "attention": "tp",
        "ranks": 1,
        "ep": run.tp,
        "weight_type": "bf16",
        "compute_type": "bf16",
        "kv_type": "bf16",
        "memory_share": 0.9,
        "reserve_bytes": 4e9,
        "block_tokens": 16,
        "token_budget": run.token_budget,
        "max_seqs": run.max_seqs,
        "drafts": 0,
        "router": "session_affinity",
        "max_context_tokens": 32_768,
        **law_fields(run, terms),
    }
    source = "fitted to a recorded run"
    fields = {key: {"value": value, "unit": DEPLOYMENT[key].unit, "source": source, "quality": "fitted"} for key, value in values.items()}
    return {"name": f"{run.system}_{run.model}_tp{run.tp}", **fields}


def law_fields(run: Run, terms: StackTerms) -> dict[str, float]:
    """The step law of a run's worker.

    Each layer ends in two all-reduces, and the embedding in one: a ring of twice the activations less each GPU's own share. The logits of a
    decoding sequence are all-gathered in BF16, for each GPU of vLLM has its part of the vocabulary (`VocabParallelEmbedding`,
    `LogitsProcessor`); they cross the same links at the same rate.
    """
    system, model = load_system(run.system), load_model(run.model)
    flops = system.bf16_flops * run.tp
    reduces, gathers = (2 * model.layers + 1, 1) if run.tp > 1 else (0, 0)
    others = (run.tp - 1) / run.tp
    byte_s = terms.link / system.scale_up_bytes_per_s
    link_s = byte_s * reduces * model.hidden * ACTIVATION_BYTES * 2 * others
    logits_s = byte_s * gathers * model.vocab * ACTIVATION_BYTES * others
    return {
        "floor_s": model.layers * terms.layer_s + (reduces + gathers) * terms.collective_s,
        "host_s": 0.0,
        "routing_skew": 0.8,
        "hbm_efficiency": 1 / terms.memory,
        "kv_efficiency": 1 / terms.memory,
        "decode_token_s": terms.sequence_s + link_s + logits_s,
        "prefill_token_s": terms.gemm * 2 * parameters(model).active / flops + link_s,
        "prefill_pair_s": terms.attention * prompt_flops_line(model)[1] / flops,
    }


def mean_errors(replayed: Replayed, truth: Replayed) -> tuple[float, float]:
    """Signed relative errors of mean TTFT and mean time per output token."""
    ttft = float(replayed.ttft_s.mean() / truth.ttft_s.mean() - 1)
    return ttft, float(np.nanmean(replayed.tpot_s) / np.nanmean(truth.tpot_s) - 1)


ALLREDUCE_PCIE = (
    (131_072, 39.3), (262_144, 55.5), (524_288, 91.5), (1_048_576, 157.5), (2_097_152, 295.9), (8_388_608, 1117.6), (16_777_216, 2213.9),
)  # fmt: skip
"""BF16 numbers in an all-reduce of two RTX PRO 6000 over PCIe, and its microseconds: vLLM 0.19.0's own, in a CUDA graph
(aiconfigurator 0.12.0, rtx_pro_6000_server/comm/vllm/0.19.0)."""


def start_terms() -> StackTerms:
    """Where a fit starts: orders of magnitude for what it moves, and the measured all-reduce."""
    link = load_system("rtx_pro_6000").scale_up_bytes_per_s
    sizes, times = np.array(ALLREDUCE_PCIE).T
    matrix = np.array([np.ones_like(sizes), sizes * ACTIVATION_BYTES]).T / times[:, None]
    latency_us, byte_us = np.linalg.lstsq(matrix, np.ones_like(times), rcond=None)[0].tolist()
    return StackTerms(5e-5, 1.25, 1.5, 1.5, 20e-6, latency_us * 1e-6, byte_us * 1e-6 * link)


FREE: tuple[str, ...] = ("layer_s", "memory", "gemm", "sequence_s")
"""What a run on one GPU can tell; attention over pairs goes with it too little (prompts of 900 tokens)."""


def fit_run(run: Run, start: StackTerms, rounds: int = 4, groups: int = 10) -> StackTerms:
    """The terms in `FREE` with which a replay meets a run: Gauss-Newton steps on logarithms.

    What is met: the time per output token and the time to the last token of each tenth of the requests, in their order.
    """
    truth = _profile(run, measured(run), groups)
    terms = start
    for _ in range(rounds):
        here = _profile(run, replay_requests(run, terms), groups)
        slopes = [(_profile(run, replay_requests(run, _scaled(terms, name, 1.05)), groups) - here) / np.log(1.05) for name in FREE]
        matrix = np.vstack([np.array(slopes).T, 0.05 * np.eye(len(FREE))])
        step = np.linalg.lstsq(matrix, np.concatenate([truth - here, np.zeros(len(FREE))]), rcond=None)[0]
        for name, value in zip(FREE, np.clip(step, -0.7, 0.7).tolist(), strict=True):
            terms = _scaled(terms, name, float(np.exp(value)))
    return terms


def _scaled(terms: StackTerms, name: str, factor: float) -> StackTerms:
    return terms._replace(**{name: getattr(terms, name) * factor})


def _profile(run: Run, times: Replayed, groups: int) -> NDArray[np.float64]:
    after = np.array([r.output_tokens - 1 for r in run.requests])
    last_s = times.ttft_s + times.tpot_s * after
    parts: Sequence[NDArray[np.intp]] = np.array_split(np.arange(len(after)), groups)
    return np.log([np.nanmean(values[part]) for values in (times.tpot_s, last_s) for part in parts])
