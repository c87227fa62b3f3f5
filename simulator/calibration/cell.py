"""A cell: one experiment on a live endpoint, as what is asked (`Cell`) and what came back (`RequestRow`, `CellRow`). A plan makes them.

A cell says everything that its execution needs, and nothing of how its result is read: prompts are spans of endless streams of random token
ids, so what two prompts share is what their spans share. `simulator.probe` runs cells and writes rows; the laws are fitted to the rows.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Span:
    """``tokens`` ids of a stream, from the ``start``-th on. Streams are random and differ; the same span is the same tokens."""

    stream: int
    start: int
    tokens: int


@dataclass(frozen=True)
class Turn:
    """One request of a session.

    Attributes
    ----------
    prompt : tuple of Span
        Its tokens, in order.
    output_tokens : int
        Tokens it shall produce, neither fewer nor more.
    wait_s : float
        Pause before it is sent, after the turn before it has ended (or after the cell has begun).
    measured : bool
        False for a request that only prepares (fills a cache, occupies a seat).
    """

    prompt: tuple[Span, ...]
    output_tokens: int
    wait_s: float = 0.0
    measured: bool = True

    @property
    def prompt_tokens(self) -> int:
        return sum(span.tokens for span in self.prompt)


@dataclass(frozen=True)
class Cell:
    """One experiment: sessions taken in order by ``lanes`` that play one session after another, closed loop.

    Attributes
    ----------
    id : str
        Unique in a plan, readable: ``decode b=8 ctx=512 #2``. A run that is resumed skips the ids it has rows of.
    kind : str
        What it is for: one of `KINDS`.
    repetition : int
        Which repetition of the same experiment.
    params : dict
        The numbers by which its kind is read, for example ``{"batch": 8, "context_tokens": 512}``.
    lanes : int
        Sessions in flight at once.
    sessions : tuple of tuple of Turn
        What is asked.
    """

    id: str
    kind: str
    repetition: int
    params: dict[str, float]
    lanes: int
    sessions: tuple[tuple[Turn, ...], ...]

    @property
    def tokens(self) -> tuple[int, int]:
        """Prompt tokens and output tokens it will ask for."""
        turns = [turn for session in self.sessions for turn in session]
        return sum(turn.prompt_tokens for turn in turns), sum(turn.output_tokens for turn in turns)


KINDS = (
    "floor", "prefill", "decode", "context", "mixed", "prefix", "branch", "granularity", "capacity", "saturation", "replay", "drift",
)  # fmt: skip
"""Phases of a plan, in the order in which they are read (docs/calibration.md)."""


@dataclass(frozen=True)
class RequestRow:
    """One request as it went. Times are seconds on one monotonic clock that starts with the run; None is unknown, never zero.

    Attributes
    ----------
    cell, session, turn : str, int, int
        Which request of which cell.
    measured : bool
        As its turn says.
    sent_s, first_s, last_s, end_s : float
        Sent; first chunk with a token; last chunk with a token; end of the answer. ``first_s`` and ``last_s`` are None without tokens.
    asked_prompt_tokens, asked_output_tokens : int
        What the cell asked for.
    prompt_tokens, cached_tokens, output_tokens : int or None
        What the server says it counted.
    chunks : int
        Chunks that carried tokens.
    coalesced : bool
        Tokens came in bursts, so that the client's clocks say nothing of the decode speed.
    server_prefill_s, server_decode_s : float or None
        The server's own clocks for this request, where it sends them.
    status : int or None
        HTTP status.
    error : str or None
        Why the request counts as failed.
    retries : int
        How often it was sent again (a kept-alive connection that was reset, a 429); its times are those of the last time.
    """

    cell: str
    session: int
    turn: int
    measured: bool
    sent_s: float
    first_s: float | None
    last_s: float | None
    end_s: float
    asked_prompt_tokens: int
    asked_output_tokens: int
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    chunks: int = 0
    coalesced: bool = False
    server_prefill_s: float | None = None
    server_decode_s: float | None = None
    status: int | None = None
    error: str | None = None
    retries: int = 0

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_s is None else self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first; None if the client's clocks cannot say."""
        if self.coalesced or self.first_s is None or self.last_s is None or (self.output_tokens or 0) < 2:
            return None
        return (self.last_s - self.first_s) / ((self.output_tokens or 0) - 1)


@dataclass(frozen=True)
class CellRow:
    """One cell as it went, written after its last request. None is unknown, never zero.

    Attributes
    ----------
    cell, kind, repetition, params, lanes :
        As in the `Cell`.
    start_s, end_s : float
        On the clock of the requests.
    requests, failed : int
        How many ended, and how many of them failed.
    metrics : dict of str to float
        What the server's counters gained from before the cell to after it, under the names of `METRICS`; absent where a server has none.
    gauges : dict of str to float
        Mean and maximum of what was polled meanwhile: ``running_mean``, ``running_max``, ``waiting_max``, ``kv_use_max``.
    watts, joules : float or None
        Mean draw and energy of the accelerators.
    power_source : str or None
        Where they come from, with its scope.
    notes : tuple of str
        What is odd about it, in words: the server restarted, somebody else used it.
    """

    cell: str
    kind: str
    repetition: int
    params: dict[str, float]
    lanes: int
    start_s: float
    end_s: float
    requests: int
    failed: int
    metrics: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    watts: float | None = None
    joules: float | None = None
    power_source: str | None = None
    notes: tuple[str, ...] = ()


METRICS = (
    "prefill_s", "prefill_count", "decode_s", "decode_count", "queue_s", "queue_count", "ttft_s", "ttft_count", "tpot_s", "tpot_count",
    "prompt_tokens", "prefilled_tokens", "output_tokens", "cached_tokens", "queried_tokens", "preemptions", "steps",
)  # fmt: skip
"""Server counters in one dialect: sums and counts of histograms in seconds, and totals. ``queried_tokens`` is what ``cached_tokens`` is a
share of; ``prefilled_tokens`` are those of the prompts that were computed. ``tpot`` counts requests or tokens, as the server does."""


@dataclass(frozen=True)
class Endpoint:
    """What a probe found out about an endpoint; None is unknown.

    Attributes
    ----------
    url, model : str
        Its base URL without any key, and the model name asked for.
    dialect : str
        Whose metrics it serves: ``vllm``, ``sglang``, ``llamacpp``, ``trtllm``, ``dynamo`` or ``none``.
    version : str or None
        Engine version.
    token_ids : bool
        Prompts can be sent as token ids; otherwise as words that were seen to be one token each.
    ignore_eos, min_tokens, stream_usage, cached_tokens : bool
        Whether it accepts or reports them.
    max_context_tokens : int or None
        Longest prompt and output together.
    max_seqs, block_tokens, kv_blocks, token_budget : int or None
        Where the server tells them by itself; the fit finds them by experiment and compares.
    vocabulary : int
        Token ids below this are safe to send.
    notes : tuple of str
        What it lacks, and what is done instead.
    facts : dict
        Anything else worth keeping, numbers and words only.
    """

    url: str
    model: str
    dialect: str
    version: str | None
    token_ids: bool
    ignore_eos: bool
    min_tokens: bool
    stream_usage: bool
    cached_tokens: bool
    max_context_tokens: int | None
    max_seqs: int | None
    block_tokens: int | None
    kv_blocks: int | None
    token_budget: int | None
    vocabulary: int
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
