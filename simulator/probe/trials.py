"""What an endpoint can do, found out by small requests. Inputs are its answers to them.

A field that it refuses is left out from then on; a field that it takes and ignores shows in what comes back.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.calibration.cell import Endpoint, Span, Turn
from simulator.errors import Mistake, UserError
from simulator.probe.answer import Answer, read_answer
from simulator.probe.client import Client
from simulator.probe.pages import Told
from simulator.probe.prompts import Prompts
from simulator.probe.words import COMMON, LEAST, frame_tokens, single_tokens

OUTPUT = 16
SAFE_VOCABULARY = 4000
"""Ids below this are tokens of all but toy models."""
VOCABULARIES = (100_000, 30_000, SAFE_VOCABULARY, 1000, 256)
CHECKING = ("vllm", "llamacpp")
"""Engines that refuse ids out of the vocabulary, where others may crash."""
TWICE_TOKENS = 2048


@dataclass
class Trials:
    """Trials on one endpoint.

    Attributes
    ----------
    client : Client
    known : Endpoint
        What is known so far.
    """

    client: Client
    known: Endpoint
    notes: list[str] = field(default_factory=list)

    async def send(self, prompt: list[int] | str, output_tokens: int = 1, **fields: Any) -> tuple[int | None, Answer, str]:
        """Status, answer, and what was wrong in words."""
        asked = Prompts(self.known, 0).request(prompt, output_tokens) | fields
        exchange = await self.client.post(str(self.known.facts["path"]), json.dumps(asked).encode())
        if exchange.status != 200 or exchange.error is not None:
            said = exchange.error or self.client.message(exchange)
            return exchange.status, Answer(), said
        answer = read_answer(exchange)
        return 200, answer, self.client.plain(answer.error or "")

    def learn(self, facts: dict[str, Any] | None = None, **fields: Any) -> None:
        """Takes down what was found."""
        self.known = replace(self.known, facts=self.known.facts | (facts or {}), **fields)

    async def find_path(self, api: str) -> None:
        """Completions, or chat where there are none; and which fields may go along."""
        said = ""
        for path, limit in (
            ("completions", "max_tokens"),
            ("chat/completions", "max_tokens"),
            ("chat/completions", "max_completion_tokens"),
        ):
            self.learn({"path": f"{api}/{path}", "limit_field": limit})
            if await self._find_fields():
                return
            status, _, last = await self.send("hello")
            said = last or said
            if status in (401, 403, 429):
                break
        raise UserError(Mistake("endpoint", "URL", said, "an endpoint that completes prompts in a stream"))

    async def _find_fields(self) -> bool:
        """Which of the optional fields it accepts; False when it accepts no request at all."""
        everything: dict[str, Any] = {"stream_usage": True, "ignore_eos": True, "min_tokens": True}
        nothing = dict.fromkeys(everything, False)
        self.learn({"running_usage": True, "temperature": True}, **everything)
        if (await self.send("hello"))[0] == 200:
            return True
        self.learn({"running_usage": False, "temperature": False}, **nothing)
        if (await self.send("hello"))[0] != 200:
            return False
        for name, facts in (
            ("stream_usage", {}),
            ("", {"running_usage": True}),
            ("ignore_eos", {}),
            ("min_tokens", {}),
            ("", {"temperature": True}),
        ):
            before = self.known
            self.learn(facts, **({name: True} if name else {}))
            if (await self.send("hello"))[0] != 200:
                self.known = before
                self.notes.append(f"it refuses {name or next(iter(facts))}: left out")
        return True

    async def look_at_counts(self) -> None:
        """Whether usage comes, whether with each chunk, and whether an answer is as long as asked."""
        _, answer, said = await self.send("hello", OUTPUT)
        if said:
            self.notes.append(said)
        counted = answer.counts.output is not None
        self.learn(
            {"running_usage": bool(self.known.facts["running_usage"]) and answer.running_usage},
            stream_usage=self.known.stream_usage and counted,
        )
        if not counted:
            self.notes.append("it reports no token counts: an answer counts as asked when its limit ended it, and batches go unchecked")
        elif answer.counts.output != OUTPUT:
            self.notes.append(f"it gave {answer.counts.output} of {OUTPUT} tokens: answers that are not as long as asked count as failed")

    async def find_prompts(self, told: Told) -> None:
        """Token ids where they are counted one by one, else words that are one token each."""
        short, long = [300 + number for number in range(8)], [320 + number for number in range(16)]
        if "/chat/" not in str(self.known.facts["path"]):
            self.learn(token_ids=True)
            counts = [(await self.send(ids))[1].counts.prompt for ids in (short, long)]
            if counts[0] is not None and counts[1] is not None and counts[1] - counts[0] == 8:
                self.learn({"frame_tokens": counts[0] - 8})
                await self._find_vocabulary(told)
                return
            self.learn(token_ids=False)
        self.notes.append("prompts are words instead of token ids")
        await self._find_words()

    async def _find_vocabulary(self, told: Told) -> None:
        tried = [size for size in VOCABULARIES if size <= SAFE_VOCABULARY or told.dialect in CHECKING]
        if told.vocabulary is not None:
            tried = [min(told.vocabulary, VOCABULARIES[0])]
        for size in tried:
            status, _, said = await self.send([size - 1])
            if status == 200 and not said:  # vLLM says what is wrong in the stream
                self.learn(vocabulary=size)
                return
        raise UserError(Mistake("endpoint", "vocabulary", "token ids refused", f"a model of at least {VOCABULARIES[-1]} tokens"))

    async def _find_words(self) -> None:
        async def count(text: str) -> int | None:
            return (await self.send(text))[1].counts.prompt

        frame = await frame_tokens(count)
        words = await single_tokens(count, frame) if frame is not None else []
        if len(words) < LEAST:
            self.notes.append("which words are one token could not be checked: lengths of prompts are what the server counts")
            words = list(COMMON)
        self.learn({"words": words, "frame_tokens": frame or 0}, vocabulary=len(words))

    async def look_at_cache(self, salt: int) -> None:
        """Whether it says how many tokens of a prompt it had already."""
        length = min(TWICE_TOKENS, (self.known.max_context_tokens or 2 * TWICE_TOKENS) // 2)
        turn = Turn((Span(0, 0, length),), 1)
        prompt = Prompts(self.known, salt).prompt(turn.prompt)
        answers = [(await self.send(prompt))[1] for _ in range(2)]
        cached = answers[1].counts.cached
        self.learn({"cached_of_repeated": cached, "repeated_tokens": length}, cached_tokens=cached is not None)
        if cached is None:
            self.notes.append(
                "it does not report cached tokens (vLLM does with --enable-prompt-tokens-details, SGLang with --enable-cache-report)"
            )
        elif cached == 0:
            self.notes.append("a prompt that was sent twice was not found in the cache")
