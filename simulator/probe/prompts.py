"""Requests as bytes, made before anything is timed. Inputs are turns of cells and what the endpoint accepts.

A stream of tokens is drawn piece by piece, by salt, stream and piece, so that a span is the same tokens wherever it is asked for and no
other stream has them. The salt is drawn for each start of a run: what an earlier run left in the server's cache is never hit.
"""

import json
from collections.abc import Sequence

import numpy as np

from simulator.calibration.cell import Cell, Endpoint, Span, Turn

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
PIECE = 1024
SPECIAL = 1000
"""Ids below this may be special tokens, and are left out where the vocabulary has four times as many."""


class Prompts:
    """Makes the bodies of requests.

    Parameters
    ----------
    endpoint : Endpoint
        Its ``facts`` say ``path``, and ``words`` where it takes no token ids.
    salt : int
        Of all random streams.
    """

    def __init__(self, endpoint: Endpoint, salt: int) -> None:
        self.endpoint, self.salt = endpoint, salt
        self.words: Sequence[str] = endpoint.facts.get("words", ())
        self.first = SPECIAL if endpoint.vocabulary >= 4 * SPECIAL else endpoint.vocabulary // 4
        self.chat = str(endpoint.facts.get("path", "")).endswith("/chat/completions")
        self._pieces: dict[tuple[int, int], Ids] = {}

    def bodies(self, cell: Cell) -> list[list[bytes]]:
        """The bodies of a cell, by session and turn."""
        try:
            return [[self.body(turn) for turn in session] for session in cell.sessions]
        finally:
            self._pieces.clear()

    def body(self, turn: Turn) -> bytes:
        """The body of one request."""
        return json.dumps(self.request(self.prompt(turn.prompt), turn.output_tokens)).encode()

    def prompt(self, spans: Sequence[Span]) -> list[int] | str:
        """Token ids, or a text of as many words."""
        drawn = np.concatenate([self._span(span) for span in spans]) if spans else np.empty(0, np.int64)
        if self.endpoint.token_ids:
            return [int(token) for token in drawn]
        return "".join(f" {self.words[int(token)]}" for token in drawn)

    def request(self, prompt: list[int] | str, output_tokens: int) -> dict[str, object]:
        """A request as the endpoint accepts it."""
        endpoint = self.endpoint
        asked: dict[str, object] = {"model": endpoint.model, "stream": True}
        asked |= {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        asked[str(endpoint.facts.get("limit_field", "max_tokens"))] = output_tokens
        if endpoint.stream_usage:
            running = {"continuous_usage_stats": True} if endpoint.facts.get("running_usage") else {}
            asked["stream_options"] = {"include_usage": True, **running}
        if endpoint.facts.get("temperature", True):
            asked["temperature"] = 0
        if endpoint.ignore_eos:
            asked["ignore_eos"] = True
        if endpoint.min_tokens:
            asked["min_tokens"] = output_tokens
        return asked

    def _span(self, span: Span) -> Ids:
        first, last = span.start // PIECE, (span.start + span.tokens - 1) // PIECE
        if span.tokens <= 0:
            return np.empty(0, np.int64)
        drawn = np.concatenate([self._piece(span.stream, piece) for piece in range(first, last + 1)])
        offset = span.start - first * PIECE
        return drawn[offset : offset + span.tokens]

    def _piece(self, stream: int, piece: int) -> Ids:
        if (stream, piece) not in self._pieces:
            low, high = (self.first, self.endpoint.vocabulary) if self.endpoint.token_ids else (0, len(self.words))
            random = np.random.default_rng([self.salt, stream, piece])
            self._pieces[stream, piece] = random.integers(low, high, PIECE)
        return self._pieces[stream, piece]
