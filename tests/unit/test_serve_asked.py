"""What a request asks for, token counts of texts, and the errors of requests that cannot be served."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest

from simulator.serve.answer import Answer
from simulator.serve.asked import Asked, Served, read_asked
from simulator.serve.keys import block_keys
from simulator.serve.refused import Refused
from simulator.serve.text import WORDS, answer_ids, answer_text, chat_ids, ids_of

SERVED = Served("tiny", limit_tokens=1000, answer_tokens=100)


def asked(chat: bool = False, headers: dict[str, str] | None = None, **request: Any) -> Asked:
    request = {"messages": [{"role": "user", "content": "hi"}]} | request if chat else {"prompt": "a b c"} | request
    return read_asked(json.dumps(request).encode(), headers or {}, SERVED, chat=chat)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), (" \n", 0), ("hello world", 2), ("  a\tb\nc ", 3), ("12345678", 1), ("123456789", 2), ("é" * 17, 3)]
)
def test_a_token_is_a_run_of_at_most_eight_characters(text: str, tokens: int) -> None:
    assert len(ids_of(text)) == tokens


def test_an_answer_counts_as_much_as_it_says_and_is_found_again() -> None:
    assert max(map(len, WORDS)) <= 8
    for leading in (False, True):
        text = answer_text(0, 70, leading=leading) + answer_text(70, 150, leading=leading)
        assert ids_of(text) == answer_ids(150)
    first = [{"role": "user", "content": "do it"}]
    later = [*first, {"role": "assistant", "content": answer_text(0, 30, leading=False)}, {"role": "tool", "content": "done"}]
    whole = chat_ids(first) + answer_ids(30)
    assert chat_ids(later)[: len(whole)] == whole


def test_messages_of_all_kinds_are_counted() -> None:
    parts = [{"type": "text", "text": "two words"}, {"type": "image_url", "image_url": {}}]
    plain = chat_ids([{"role": "user", "content": None}])
    assert len(plain) == 3, "role, end, and the role of the answer"
    assert len(chat_ids([{"role": "user", "content": parts}])) > len(plain) + 2
    assert len(chat_ids([{"role": "assistant", "tool_calls": [{"id": "1"}]}])) > len(plain)
    assert len(chat_ids([{"role": "user", "content": None}], [{"type": "function"}])) > len(plain)


def test_block_keys_name_content_and_all_before_it() -> None:
    ids = array("q", range(40))
    keys = block_keys(ids, 16)
    assert len(keys) == 2
    assert block_keys(ids[:32], 16) == keys
    assert block_keys(array("q", [7, *range(1, 40)]), 16)[1] != keys[1]
    assert block_keys(ids[16:], 16)[0] != keys[1]


@pytest.mark.parametrize(
    ("chat", "request_", "output", "stops"),
    [
        (False, {}, 16, False),
        (False, {"max_tokens": 50}, 50, False),
        (False, {"max_tokens": 500}, 100, True),
        (False, {"max_tokens": 500, "ignore_eos": True}, 500, False),
        (False, {"max_tokens": 500, "min_tokens": 200}, 200, True),
        (False, {"max_tokens": 100}, 100, False),
        (True, {}, 100, True),
        (True, {"max_completion_tokens": 30, "max_tokens": 40}, 30, False),
        (True, {"ignore_eos": True}, 100, False),
    ],
)
def test_how_long_an_answer_is(chat: bool, request_: dict[str, Any], output: int, stops: bool) -> None:
    found = asked(chat, **request_)
    assert (found.output_tokens, found.stops) == (output, stops)


@pytest.mark.parametrize("prompt", ["a b c", ["a b c"], [1, 2, 3], [[1, 2, 3]]])
def test_prompts_are_texts_or_token_ids(prompt: Any) -> None:
    assert len(asked(prompt=prompt).ids) == 3


def test_a_session_is_named_by_header_or_body() -> None:
    assert asked().session is None
    assert asked(user="u").session == "u"
    assert asked(user="u", session_id="s").session == "s"
    assert asked(headers={"x-session-id": "h"}, session_id="s").session == "h"


@pytest.mark.parametrize(
    ("chat", "request_", "status", "param", "said"),
    [
        (False, {"model": "other"}, 404, "model", "`tiny`"),
        (False, {"prompt": list(range(990))}, 400, "prompt", "1000 tokens. However, you requested 1006 tokens (990 in the prompt"),
        (True, {"max_tokens": 999}, 400, "messages", "maximum context length"),
        (True, {"messages": []}, 400, "messages", "one or more"),
        (True, {"messages": ["hi"]}, 400, "messages", "objects"),
        (False, {"prompt": ""}, 400, "prompt", "no token"),
        (False, {"prompt": ["a", "b"]}, 400, "prompt", "one prompt"),
        (False, {"prompt": [1, "b"]}, 400, "prompt", "one prompt"),
        (False, {"prompt": [1, 2.5]}, 400, "prompt", "no token id"),
        (False, {"prompt": [-1]}, 400, "prompt", "negative"),
        (False, {"prompt": [2**70]}, 400, "prompt", "no token id"),
        (False, {"prompt": 3}, 400, "prompt", "a text or a list"),
        (False, {"max_tokens": 0}, 400, "max_tokens", ">= 1"),
        (False, {"max_tokens": "9"}, 400, "max_tokens", "whole number"),
        (False, {"max_tokens": 5, "min_tokens": 6}, 400, "min_tokens", "max_tokens"),
        (False, {"n": 2}, 400, "n", "one answer"),
        (False, {"stream": "yes"}, 400, "stream", "true or false"),
        (False, {"stream_options": {"include_usage": True}}, 400, "stream_options", "stream"),
    ],
)
def test_what_cannot_be_served_is_refused(chat: bool, request_: dict[str, Any], status: int, param: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(chat, **request_)
    assert (caught.value.status, caught.value.param) == (status, param)
    error = json.loads(caught.value.body)["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(Refused, match="JSON") as caught:
        read_asked(body, {}, SERVED, chat=False)
    assert caught.value.status == 400


def test_a_stream_of_a_chat() -> None:
    request = asked(True, max_tokens=3, stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    answer = Answer(request, 7, "tiny")
    *events, done = (answer.chunk(1, 0) + answer.chunk(2, 0)).decode().split("\n\n")[:-1]
    role, first, rest, usage = (json.loads(event.removeprefix("data: ")) for event in events)
    assert done == "data: [DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["usage"]["completion_tokens"] for chunk in (role, first, rest, usage)] == [0, 1, 3, 3]
    assert [chunk["choices"][0]["finish_reason"] for chunk in (role, first, rest)] == [None, None, "length"]
    assert first["choices"][0]["delta"]["content"] + rest["choices"][0]["delta"]["content"] == "lorem ipsum dolor"
    assert usage["choices"] == []
    assert {chunk["object"] for chunk in (role, first, rest, usage)} == {"chat.completion.chunk"}
