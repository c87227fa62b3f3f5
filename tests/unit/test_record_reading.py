"""What the recorder reads of requests and responses: wherever the network cuts them, and whatever they are."""

import gzip
import json
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.record import answer as answer_module
from simulator.record.answer import Answer
from simulator.record.prompt import CHAT, COMPLETIONS, PIECE, RESPONSES, Asked, kind_of, read_request

SALT = b"salt"
STREAM = "text/event-stream; charset=utf-8"
EVENTS = (
    {"choices": [{"delta": {"content": "four"}}]},
    {"choices": [{"delta": {"reasoning_content": "why", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
    {"choices": [], "usage": {"prompt_tokens": 900, "completion_tokens": 64, "prompt_tokens_details": {"cached_tokens": 512}}},
)


def read(content: bytes, cuts: list[int] | None = None, content_type: str = STREAM, coding: str = "") -> Answer:
    found = Answer(content_type, coding, SALT)
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts or []), len(content)]
    for start, end in pairwise(places):
        if end > start:
            found.feed(content[start:end])
    found.end()
    return found


def figures(found: Answer) -> tuple[int | None, int | None, int | None, int]:
    return found.counts.prompt, found.counts.output, found.counts.cached, found.characters


@settings(max_examples=150, deadline=None)
@given(
    eol=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
    coding=st.sampled_from(["", "gzip", "deflate"]),
    ending=st.sampled_from(["data: [DONE]", "data: [DONE]{eol}{eol}", ""]),
)
def test_streams_are_read_wherever_they_are_cut(eol: str, cuts: list[int], coding: str, ending: str) -> None:
    text = f": ping{eol}{eol}" + "".join(f"data:{json.dumps(event)}{eol}{eol}" for event in EVENTS) + ending.replace("{eol}", eol)
    content = {"": text.encode(), "gzip": gzip.compress(text.encode()), "deflate": zlib.compress(text.encode())}[coding]
    assert figures(read(content, cuts, coding=coding)) == (900, 64, 512, 4 + 3 + 1 + 2)


def test_an_event_of_several_lines_is_one_object() -> None:
    assert read(b'data: {"usage":\ndata: {"prompt_tokens": 5, "completion_tokens": 6}}\n\n').counts.output == 6


def test_bodies_of_each_endpoint() -> None:
    kind = "application/json"
    chat = {"choices": [{"message": {"content": "12345"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    text = {"choices": [{"text": "123"}], "usage": None}
    response = {
        "id": "r",
        "output": [{"content": [{"type": "output_text", "text": "1234"}]}, {"arguments": "{}"}],
        "usage": {"input_tokens": 7, "output_tokens": 8},
    }
    assert figures(read(json.dumps(chat).encode(), content_type=kind)) == (3, 2, None, 5)
    assert figures(read(json.dumps(text).encode(), content_type=kind)) == (None, None, None, 3)
    found = read(json.dumps(response).encode(), content_type=kind)
    assert figures(found) == (7, 8, None, 6)
    assert len(found.ids) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"data: {]\n\n", b"[" * 100_000,
     b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": true}}\n\n',
     b'data: {"choices": {"a": 1}, "usage": [1], "response": 3, "delta": {}}\n\n',
     b'data: {"choices": [1, {"delta": 1}, {"text": 5}]}\n\n'],
)  # fmt: skip
def test_nonsense_counts_nothing(content: bytes) -> None:
    for content_type in (STREAM, "application/json", ""):
        assert figures(read(content, content_type=content_type)) == (None, None, None, 0)


def test_what_cannot_be_read_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not read(b"anything", coding="br").readable
    assert not read(b"no gzip", coding="gzip").readable
    monkeypatch.setattr(answer_module, "MOST_BYTES", 1000)
    assert not read(b"data: " + b"x" * 2000).readable, "an endless line"
    assert not read(gzip.compress(b"x" * 100_000), coding="gzip").readable, "a bomb"
    many = b"".join(b'data: {"choices": [{"text": "1"}]}\n\n' for _ in range(200))
    assert read(many, list(range(0, 8000, 100))).characters == 200, "a long stream of short lines is no such thing"


def chat(*messages: object, **more: object) -> Asked:
    found = read_request(CHAT, json.dumps({"messages": messages, **more}).encode(), SALT)
    assert found is not None
    return found


def shared(one: Asked, other: Asked) -> int:
    """Characters in common at the beginning."""
    same = [a == b for a, b in zip(one.chain, other.chain, strict=False)]
    pieces = same.index(False) if False in same else len(same)
    return one.ends[pieces - 1] if pieces else 0


SYSTEM, TASK = {"role": "system", "content": "s" * 1000}, {"role": "user", "content": "task"}
ANSWER, RESULT = {"role": "assistant", "content": "a"}, {"role": "tool", "content": "r" * 600}


def test_prompts_share_what_they_begin_with() -> None:
    first, second = chat(SYSTEM, TASK), chat(SYSTEM, TASK, ANSWER, RESULT)
    assert shared(first, second) == first.characters
    assert (first.goes_on, second.goes_on, first.after_tool, second.after_tool) == (False, True, False, True)
    assert first.opening == len(first.chain) == second.opening
    assert shared(first, chat(SYSTEM, {"role": "user", "content": "tusk"})) == chat(SYSTEM).characters
    assert shared(first, chat({**SYSTEM, "content": "s" * 600 + "t" * 400}, TASK)) == 2 * PIECE
    assert shared(first, chat(SYSTEM, TASK, tools=[{"name": "f"}])) == 0, "tools come first"
    assert shared(first, chat(dict(reversed(SYSTEM.items())), TASK)) == first.characters, "the order of keys says nothing"
    marked = {"role": "user", "content": [{"text": "x", "cache_control": {"type": "ephemeral"}}]}
    bare = {"role": "user", "content": [{"text": "x"}]}
    assert chat(marked).chain == chat(bare).chain, "marks of caching move and are no prompt"


def test_messages_are_not_taken_for_each_others_ends() -> None:
    assert chat({"role": "user", "content": "ab"}).chain != chat({"role": "user", "content": "a"}, {"role": "user", "content": "b"}).chain
    other = read_request(CHAT, json.dumps({"messages": [SYSTEM, TASK]}).encode(), b"other salt")
    assert other is not None
    assert not set(other.chain) & set(chat(SYSTEM, TASK).chain), "another recording has another salt"


def test_responses_and_text_prompts() -> None:
    items = [
        {"role": "user", "content": "task"},
        {"type": "function_call", "arguments": "{}"},
        {"type": "function_call_output", "output": "r"},
    ]
    found = read_request(RESPONSES, json.dumps({"instructions": "s", "input": items, "tools": [{}]}).encode(), SALT)
    assert found is not None
    assert (found.goes_on, found.after_tool, found.follows) == (True, True, None)
    found = read_request(RESPONSES, json.dumps({"input": "hi", "previous_response_id": "r1"}).encode(), SALT)
    assert found is not None
    assert found.goes_on
    assert found.follows is not None
    text = read_request(COMPLETIONS, json.dumps({"prompt": "x" * 1000}).encode(), SALT)
    longer = read_request(COMPLETIONS, json.dumps({"prompt": ["x" * 1000 + "y"]}).encode(), SALT)
    ids = read_request(COMPLETIONS, json.dumps({"prompt": list(range(500))}).encode(), SALT)
    assert text is not None
    assert longer is not None
    assert ids is not None
    assert (shared(text, longer), ids.tokens) == (3 * PIECE, 500)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CHAT, b""), (CHAT, b"[]"), (CHAT, b'{"messages": 3}'), (CHAT, b"[" * 100_000), (CHAT, b"\xff"),
        (COMPLETIONS, b'{"prompt": ["a", "b"]}'),
        (COMPLETIONS, b'{"prompt": []}'), (COMPLETIONS, b'{"prompt": [1, "a"]}'), (COMPLETIONS, b"{}"), (RESPONSES, b'{"input": 5}'),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_followed(kind: str, body: bytes) -> None:
    assert read_request(kind, body, SALT) is None


def test_odd_messages_are_prompts_all_the_same() -> None:
    assert chat(None, 5, "x", {"role": 7}, {"content": "\ud800"}).chain


def test_paths() -> None:
    assert kind_of("/v1/chat/completions?api-version=1") == CHAT
    assert kind_of("/openai/deployments/x/completions") == COMPLETIONS
    assert kind_of("/v1/responses/") == RESPONSES
    assert kind_of("/v1/embeddings") is None
    assert kind_of("/v1/responses/resp_1") is None
