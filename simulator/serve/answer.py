"""Answers in OpenAI's form, whole or as chunks of a stream. Inputs are a request, and how many tokens of its answer are out."""

import json
import time
from typing import Any

from simulator.serve.asked import Asked
from simulator.serve.text import answer_text


class Answer:
    """One answer on its way.

    Parameters
    ----------
    asked : Asked
    number : int
        Which request of the server it is.
    model : str
    """

    def __init__(self, asked: Asked, number: int, model: str) -> None:
        self.asked = asked
        self.told = 0
        """Tokens that the client has been told."""
        self.about = {"id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{number}", "created": int(time.time()), "model": model}

    def whole(self, cached_tokens: int) -> bytes:
        """The answer in one piece."""
        text = answer_text(0, self.asked.output_tokens, leading=not self.asked.chat)
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": self._reason}
        choice |= {"message": {"role": "assistant", "content": text}} if self.asked.chat else {"text": text}
        kind = "chat.completion" if self.asked.chat else "text_completion"
        usage = self._usage(self.asked.output_tokens, cached_tokens)
        return json.dumps({**self.about, "object": kind, "choices": [choice], "usage": usage}).encode()

    def chunk(self, tokens: int, cached_tokens: int) -> bytes:
        """The events of the next tokens: the role before a chat's first, the usage and the end after the last."""
        events = []
        if self.asked.chat and self.told == 0:
            events.append(self._event({"delta": {"role": "assistant", "content": ""}}, None, cached_tokens))
        text = answer_text(self.told, self.told + tokens, leading=not self.asked.chat)
        self.told += tokens
        over = self.told >= self.asked.output_tokens
        part: dict[str, Any] = {"delta": {"content": text}} if self.asked.chat else {"text": text}
        events.append(self._event(part, self._reason if over else None, cached_tokens))
        if over and self.asked.usage_at_end:
            events.append(self._data({"choices": [], "usage": self._usage(self.told, cached_tokens)}))
        if over:
            events.append(b"data: [DONE]\n\n")
        return b"".join(events)

    @property
    def _reason(self) -> str:
        return "stop" if self.asked.stops else "length"

    def _event(self, part: dict[str, Any], reason: str | None, cached_tokens: int) -> bytes:
        event: dict[str, Any] = {"choices": [{"index": 0, **part, "logprobs": None, "finish_reason": reason}]}
        if self.asked.usage_at_end:
            event["usage"] = self._usage(self.told, cached_tokens) if self.asked.usage_always else None
        return self._data(event)

    def _data(self, event: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return b"data: %b\n\n" % json.dumps({**self.about, "object": kind, **event}).encode()

    def _usage(self, told: int, cached_tokens: int) -> dict[str, Any]:
        prompt = len(self.asked.ids)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": told,
            "total_tokens": prompt + told,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        }
