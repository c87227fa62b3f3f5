"""What a served fleet tells at ``/metrics``: vLLM's names, in simulated seconds, and watts under DCGM's. Inputs are instants of the fleet.

One set of values for each rank, under its number as ``engine``, as vLLM does for its data-parallel ranks.
"""

from collections.abc import Callable, Iterator, Mapping

from simulator.engine.world import CACHE_NONE, CALL_COLUMNS, EVENT_ADMIT, EVENT_PREEMPT, EVENT_RANK
from simulator.serve.fleet import Instant, ServedFleet
from simulator.serve.histogram import SECONDS, TOKENS, Histogram, head, sample
from simulator.serve.watts import PowerMeter
from simulator.units import PS_PER_S

TIMES = {
    "request_queue_time_seconds": ("send_ps", "admit_ps", "From a request's coming to its admission."),
    "request_prefill_time_seconds": ("admit_ps", "first_ps", "From admission to the first token."),
    "request_decode_time_seconds": ("first_ps", "last_ps", "From the first token to the last."),
    "request_inference_time_seconds": ("admit_ps", "last_ps", "From admission to the last token."),
    "time_to_first_token_seconds": ("send_ps", "first_ps", "From a request's coming to its first token."),
    "e2e_request_latency_seconds": ("send_ps", "last_ps", "From a request's coming to its last token."),
}
"""vLLM's histograms of requests that have ended, between which two times of a call they lie."""

COUNTERS = {
    "prompt_tokens": "Tokens of prompts whose prefill has ended, cached ones included.",
    "generation_tokens": "Tokens generated.",
    "prefix_cache_queries": "Prompt tokens looked up in the prefix cache at first admissions.",
    "prefix_cache_hits": "Of these, tokens found.",
    "num_preemptions": "Times that a running request had to give way.",
}


class RankMeter:
    """Counters and histograms of one rank."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.ended = {"stop": 0, "length": 0, "abort": 0}
        self.times = {name: Histogram(SECONDS) for name in TIMES}
        self.tpot, self.gaps = Histogram(SECONDS), Histogram(SECONDS)
        self.prompts, self.answers, self.steps = Histogram(TOKENS), Histogram(TOKENS), Histogram(TOKENS)

    def end(self, row: Mapping[str, int]) -> None:
        """A call has emitted its last token."""
        for name, (begin, end, _) in TIMES.items():
            self.times[name].observe((row[end] - row[begin]) / PS_PER_S)
        if row["output_tokens"] > 1:
            self.tpot.observe((row["last_ps"] - row["first_ps"]) / PS_PER_S / (row["output_tokens"] - 1))
        self.prompts.observe(row["prompt_tokens"])
        self.answers.observe(row["output_tokens"])


class Metrics:
    """All that is counted of a fleet."""

    def __init__(self, fleet: ServedFleet, model: str, gpu_name: str) -> None:
        self.fleet, self.model, self.gpu_name = fleet, model, gpu_name
        self.ranks = [RankMeter() for _ in fleet.ranks]
        self.index = {(rank.worker, rank.number): rank.index for rank in fleet.ranks}
        self.power = PowerMeter(fleet.world.fleet)

    def observe(self, instant: Instant) -> None:
        """Counts what happened at an instant."""
        self.power.observe(instant)
        for _, kind, worker, number, lane, a, b, _ in instant.events:
            meter = self.ranks[self.index[worker, number]]
            if kind == EVENT_RANK and a + b:
                meter.steps.observe(a + b)
            elif kind == EVENT_PREEMPT:
                meter.counters["num_preemptions"] += 1
            elif kind == EVENT_ADMIT and lane in self.fleet.live and not self.fleet.live[lane].preemptions:
                meter.counters["prefix_cache_queries"] += b
                meter.counters["prefix_cache_hits"] += a
        for call, tokens, gap_ps in instant.gained:
            meter = self.ranks[(call.hold.rank if call.hold else call.entry).index]
            meter.counters["generation_tokens"] += tokens
            if gap_ps < 0:
                meter.counters["prompt_tokens"] += call.prompt_tokens
            else:
                meter.gaps.observe(gap_ps / PS_PER_S)
            if call.last_ps >= 0:
                meter.ended["stop" if call.stops else "length"] += 1
        for values in instant.ended:
            row = dict(zip(CALL_COLUMNS, values, strict=True))
            self.ranks[self.index[row["worker"], row["rank"]]].end(row)

    def abort(self, rank: int) -> None:
        """A call was given up."""
        self.ranks[rank].ended["abort"] += 1

    # ---------------------------------------------------------------------------------------------------------------- text

    def text(self, now_ps: int, own: Mapping[str, tuple[str, float, str]]) -> str:
        """All metrics; ``own`` are this server's, by name: kind, value and what it is."""
        lines = [*self._gauges(), *self._counters(), *self._histograms(), *self._watts(now_ps)]
        for name, (kind, value, about) in own.items():
            lines += [*head(f"agentwatt:{name}", kind, about), sample(f"agentwatt:{name}", {}, value)]
        return "\n".join(lines) + "\n"

    def labels(self, rank: int, **more: str) -> dict[str, str]:
        return {"engine": str(rank), "model_name": self.model, **more}

    def _gauges(self) -> Iterator[str]:
        ranks = self.fleet.ranks
        gauges: dict[str, tuple[str, Callable[[int], float]]] = {
            "num_requests_running": ("Requests with a seat.", lambda i: len(ranks[i].running) + len(ranks[i].parked)),
            "num_requests_waiting": ("Requests in the queue.", lambda i: len(ranks[i].waiting)),
            "kv_cache_usage_perc": (
                "Share of the KV blocks that live requests hold, 0 to 1.",
                lambda i: ranks[i].used_blocks / ranks[i].pool.size,
            ),
        }
        for name, (about, value) in gauges.items():
            yield from head(f"vllm:{name}", "gauge", about)
            yield from (sample(f"vllm:{name}", self.labels(i), value(i)) for i in range(len(ranks)))
        yield from head("vllm:cache_config_info", "gauge", "Blocks of the KV cache.")
        for rank in ranks:
            facts = {
                "block_size": str(rank.size),
                "num_gpu_blocks": str(rank.pool.size),
                "enable_prefix_caching": str(rank.sched.prefix_cache != CACHE_NONE),
            }
            yield sample("vllm:cache_config_info", self.labels(rank.index, **facts), 1)

    def _counters(self) -> Iterator[str]:
        for name, about in COUNTERS.items():
            yield from head(f"vllm:{name}_total", "counter", about)
            yield from (sample(f"vllm:{name}_total", self.labels(i), meter.counters[name]) for i, meter in enumerate(self.ranks))
        yield from head("vllm:request_success_total", "counter", "Requests that ended, by why.")
        for i, meter in enumerate(self.ranks):
            for reason, count in meter.ended.items():
                yield sample("vllm:request_success_total", self.labels(i, finished_reason=reason), count)

    def _histograms(self) -> Iterator[str]:
        found: dict[str, tuple[str, Callable[[RankMeter], Histogram]]] = {
            name: (about, lambda meter, name=name: meter.times[name])  # type: ignore[misc]
            for name, (_, _, about) in TIMES.items()
        }
        found |= {
            "request_time_per_output_token_seconds": ("Mean time of each token after the first, by request.", lambda meter: meter.tpot),
            "inter_token_latency_seconds": ("Time between two outputs of a request.", lambda meter: meter.gaps),
            "request_prompt_tokens": ("Prompt tokens by request.", lambda meter: meter.prompts),
            "request_generation_tokens": ("Generated tokens by request.", lambda meter: meter.answers),
            "iteration_tokens_total": ("Tokens computed by step.", lambda meter: meter.steps),
        }
        for name, (about, of) in found.items():
            yield from head(f"vllm:{name}", "histogram", about)
            for i, meter in enumerate(self.ranks):
                yield from of(meter).lines(f"vllm:{name}", self.labels(i))

    def _watts(self, now_ps: int) -> Iterator[str]:
        readings = self.power.readings(now_ps)
        labels = [{"gpu": str(i), "device": f"simulated{i}", "modelName": self.gpu_name} for i in range(len(readings))]
        yield from head("DCGM_FI_DEV_POWER_USAGE", "gauge", "Draw of a GPU in W, mean of the last second.")
        yield from (sample("DCGM_FI_DEV_POWER_USAGE", labels[i], watts) for i, (watts, _) in enumerate(readings))
        yield from head("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy of a GPU since the start in mJ.")
        yield from (sample("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", labels[i], joules * 1000) for i, (_, joules) in enumerate(readings))
