"""What a request asks for: its prompt as token ids, how many tokens it wants, and in which form. Inputs are bodies of requests."""

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.serve.refused import Refused
from simulator.serve.text import chat_ids, ids_of

COMPLETION_TOKENS = 16
"""OpenAI's own default of ``max_tokens`` for completions."""


@dataclass(frozen=True)
class Served:
    """What there is to ask for.

    Attributes
    ----------
    model : str
        The name that requests give.
    limit_tokens : int
        Most tokens of prompt and answer together.
    answer_tokens : int
        Where an answer ends by itself.
    """

    model: str
    limit_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Asked:
    """One request that can be served.

    Attributes
    ----------
    ids : array of int
        The prompt.
    output_tokens, stops : int, bool
        Length of its answer, and whether it ends by itself there rather than by the length allowed.
    usage_at_end, usage_always : bool
        A stream's ``stream_options``: ``include_usage`` and ``continuous_usage_stats``.
    session : str or None
        The conversation it says it belongs to.
    """

    chat: bool
    ids: "array[int]"
    output_tokens: int
    stops: bool
    stream: bool
    usage_at_end: bool
    usage_always: bool
    session: str | None


def read_asked(body: bytes, headers: Mapping[str, str], served: Served, *, chat: bool) -> Asked:
    """Reads a request.

    Raises
    ------
    Refused
        When it cannot be served, with the reason.
    """
    request = _object(body)
    model = request.get("model")
    if model is not None and model != served.model:
        raise Refused(404, f"The model `{model}` does not exist; this endpoint serves `{served.model}`.", "model", "model_not_found")
    if request.get("n") not in (None, 1):
        raise Refused(400, "n must be 1: each request has one answer.", "n")
    stream = _flag(request, "stream")
    options = request.get("stream_options")
    if options is not None and (not stream or not isinstance(options, dict)):
        raise Refused(400, "stream_options is an object, and goes with stream = true only.", "stream_options")
    usage = _flag(options or {}, "include_usage")
    ids = _messages(request) if chat else _prompt(request)
    output, stops = _output(request, len(ids), served, chat=chat)
    session = headers.get("x-session-id") or request.get("session_id") or request.get("user")
    return Asked(
        chat=chat,
        ids=ids,
        output_tokens=output,
        stops=stops,
        stream=stream,
        usage_at_end=usage,
        usage_always=usage and _flag(options or {}, "continuous_usage_stats"),
        session=session if isinstance(session, str) else None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        where = f" at byte {error.pos}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise Refused(400, f"The body is no JSON{where}.") from None
    if not isinstance(request, dict):
        raise Refused(400, "The body is no JSON object.")
    return request


def _flag(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name)
    if value not in (None, True, False):
        raise Refused(400, f"{name} must be true or false.", name)
    return bool(value)


def _count(values: Mapping[str, Any], name: str, least: int) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Refused(400, f"{name} must be a whole number >= {least}.", name)
    return value


def _prompt(request: Mapping[str, Any]) -> "array[int]":
    """The prompt of a completion: a text or token ids, by itself or as the one item of a list."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list | str):
        prompt = prompt[0]
    if isinstance(prompt, str):
        ids = ids_of(prompt)
    elif isinstance(prompt, list) and not any(isinstance(item, list | str) for item in prompt):
        try:
            ids = array("q", prompt)
        except (TypeError, OverflowError):
            raise Refused(400, "prompt has an item that is no token id.", "prompt") from None
        if len(ids) and min(ids) < 0:
            raise Refused(400, "prompt has a negative token id.", "prompt")
    elif isinstance(prompt, list):
        raise Refused(400, "prompt must be one prompt: several in one request are not served.", "prompt")
    else:
        raise Refused(400, "prompt must be a text or a list of token ids.", "prompt")
    if not ids:
        raise Refused(400, "prompt has no token.", "prompt")
    return ids


def _messages(request: Mapping[str, Any]) -> "array[int]":
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise Refused(400, "messages must be a list of one or more objects.", "messages")
    return chat_ids(messages, request.get("tools"))


def _output(request: Mapping[str, Any], prompt_tokens: int, served: Served, *, chat: bool) -> tuple[int, bool]:
    """Length of the answer, and whether it ends by itself: where answers do, but not before ``min_tokens``, unless ``ignore_eos``."""
    most, room = _count(request, "max_completion_tokens", 1), served.limit_tokens - prompt_tokens
    most = _count(request, "max_tokens", 1) if most is None else most
    least = _count(request, "min_tokens", 0) or 0
    if most is None and not chat:
        most = COMPLETION_TOKENS
    if room < (most or 1):
        limit = f"This model's maximum context length is {served.limit_tokens} tokens."
        wanted = f"However, you requested {prompt_tokens + (most or 1)} tokens ({prompt_tokens} in the prompt, {most or 1} for the answer)."
        raise Refused(400, f"{limit} {wanted}", "messages" if chat else "prompt", "context_length_exceeded")
    if most is not None and least > most:
        raise Refused(400, f"min_tokens must not be more than max_tokens ({most}).", "min_tokens")
    if most is None:
        most = room
        if _flag(request, "ignore_eos"):
            most = min(room, served.answer_tokens)
    natural = most if _flag(request, "ignore_eos") else max(least, served.answer_tokens)
    return min(natural, most), natural < most
