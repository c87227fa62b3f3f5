"""Tokens of texts and texts of tokens, without a tokenizer. Inputs are prompts, messages and positions in an answer.

A token is a run of at most eight characters without white space; white space counts nothing. So an English word of up to eight letters is
one token, and what a client puts together from prompt and answer counts as both together. A token's id is the CRC-32 of its text.
"""

import json
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

TOKEN = re.compile(r"\S{1,8}")
ROLE_END = crc32(b"<end of message>")

FILLER = (
    "lorem ipsum dolor sit amet elit sed do eiusmod tempor ut labore et dolore magna aliqua enim ad minim veniam quis nostrud ullamco "
    "laboris nisi ex ea commodo duis aute irure in velit esse cillum eu fugiat nulla pariatur sint occaecat non proident sunt culpa qui "
    "officia deserunt mollit anim id est laborum"
)
WORDS = FILLER.split()
"""Answers repeat these words; each is one token."""

WORD_IDS = [crc32(word.encode()) for word in WORDS]


def ids_of(text: str) -> "array[int]":
    """Token ids of a text."""
    return array("q", [crc32(token.encode("utf-8", "surrogatepass")) for token in TOKEN.findall(text)])


def chat_ids(messages: Sequence[Mapping[str, Any]], tools: Any = None) -> "array[int]":
    """Token ids of a conversation: tools first, then each message as its role, its content and an end; at last the role of the answer."""
    ids = ids_of(_text(tools)) if tools else array("q")
    for message in messages:
        ids.append(crc32(str(message.get("role")).encode("utf-8", "surrogatepass")))
        ids.extend(ids_of(_content(message.get("content"))))
        rest = {key: value for key, value in message.items() if key not in ("role", "content") and value is not None}
        ids.extend(ids_of(_text(rest)) if rest else ())
        ids.append(ROLE_END)
    ids.append(crc32(b"assistant"))
    return ids


def _content(content: Any) -> str:
    """The text of a message: as it is, or the texts of its parts, and parts of other kinds as their JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    return " ".join(part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else _text(part) for part in parts)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def answer_ids(count: int) -> "array[int]":
    """Ids of the first tokens of any answer."""
    turns = count // len(WORD_IDS) + 1
    return array("q", WORD_IDS * turns)[:count]


def answer_text(start: int, stop: int, *, leading: bool) -> str:
    """The words ``start .. stop - 1`` of any answer, each with a space before it; the very first one only if ``leading``."""
    text = "".join(f" {WORDS[index % len(WORDS)]}" for index in range(start, stop))
    return text if leading or start else text[1:]
