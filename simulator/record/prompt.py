"""What is kept of a request: salted digests of its prompt, piece by piece, and their lengths. Inputs are request bodies, which are let go.

A prompt is its tool definitions, then its messages in order, each as JSON with sorted keys and cut into pieces of `PIECE` characters. The
digest of a piece covers all before it, so two prompts begin alike exactly as far as their digests are equal. The salt is drawn anew for
each recording and, like the digests, never leaves memory.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

PIECE = 256
CHAT, COMPLETIONS, RESPONSES = "chat", "completions", "responses"
KINDS = {"/chat/completions": CHAT, "/completions": COMPLETIONS, "/responses": RESPONSES}
"""Ends of the paths that are recorded, the longest first."""
PREAMBLE = ("system", "developer", "tools")
ANSWERED = ("assistant", "tool", "function")
OF_THE_MODEL = ("function_call", "reasoning", "custom_tool_call", "local_shell_call", "computer_call", "web_search_call", "mcp_call")
OF_A_TOOL = ("function_call_output", "custom_tool_call_output", "local_shell_call_output", "computer_call_output")


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt without its content.

    Attributes
    ----------
    chain : tuple of bytes
        Digest of the prompt up to the end of each piece.
    ends : tuple of int
        Characters up to there.
    opening : int
        Pieces up to the end of the first message of the conversation proper, after system prompt and tools. In a text prompt, half of it.
    goes_on : bool
        Whether an answer is in the prompt: it goes on with a conversation. A text prompt may.
    after_tool : bool
        Whether it ends with the result of a tool.
    tokens : int or None
        Its length where it was sent as token ids.
    follows : bytes or None
        Digest of the id of the response or conversation that it goes on with, where the server keeps the history.
    """

    chain: tuple[bytes, ...]
    ends: tuple[int, ...]
    opening: int
    goes_on: bool
    after_tool: bool
    tokens: int | None = None
    follows: bytes | None = None

    @property
    def characters(self) -> int:
        """Of the whole prompt."""
        return self.ends[-1] if self.ends else 0


def kind_of(path: str) -> str | None:
    """Which of the recorded endpoints a path names; None for any other."""
    bare = path.split("?", 1)[0].rstrip("/")
    return next((kind for end, kind in KINDS.items() if bare.endswith(end)), None)


def digest_of(text: str, salt: bytes) -> bytes:
    """Digest of an id."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=salt).digest()


def read_request(kind: str, body: bytes, salt: bytes) -> Asked | None:
    """A request's prompt; None when it is none that can be followed (not JSON, several prompts at once)."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    if kind == COMPLETIONS:
        return _text(request.get("prompt"), salt)
    parts = [("tools", request["tools"])] if request.get("tools") else []
    if kind == CHAT:
        messages = request.get("messages")
        if not isinstance(messages, list):
            return None
        return _conversation([*parts, *((_role(message), message) for message in messages)], salt, None)
    if request.get("instructions"):
        parts.append(("system", request["instructions"]))
    items = request.get("input")
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    if not isinstance(items, list):
        return None
    return _conversation([*parts, *((_role(item), item) for item in items)], salt, _followed(request))


def _followed(request: dict[str, Any]) -> str | None:
    """Id of the response or conversation that a request goes on with."""
    found = request.get("previous_response_id") or request.get("conversation")
    found = found.get("id") if isinstance(found, dict) else found
    return found if isinstance(found, str) else None


def _role(message: Any) -> str:
    """Who says it: a role, or, of items without one, the model or a tool."""
    if not isinstance(message, dict):
        return "user"
    if message.get("type") in OF_A_TOOL:
        return "tool"
    if message.get("type") in OF_THE_MODEL:
        return "assistant"
    content = message.get("content")
    if isinstance(content, list) and any(isinstance(part, dict) and part.get("type") == "tool_result" for part in content):
        return "tool"
    return str(message.get("role", "user"))


def _conversation(parts: list[tuple[str, Any]], salt: bytes, followed: str | None) -> Asked:
    pieces = _Pieces(salt)
    opening = 0
    for role, part in parts:
        pieces.add(json.dumps(_unmarked(part), sort_keys=True, ensure_ascii=False, separators=(",", ":")))
        if not opening and role not in PREAMBLE:
            opening = len(pieces.chain)
    roles = [role for role, _ in parts]
    return Asked(
        tuple(pieces.chain),
        tuple(pieces.ends),
        opening or len(pieces.chain),
        followed is not None or any(role in ANSWERED for role in roles),
        bool(roles) and roles[-1] in ("tool", "function"),
        follows=None if followed is None else digest_of(followed, salt),
    )


def _unmarked(part: Any) -> Any:
    """A part without the marks by which clients ask for caching: they move from message to message and are no part of the prompt."""
    if isinstance(part, dict):
        return {key: _unmarked(value) for key, value in part.items() if key != "cache_control"}
    return [_unmarked(value) for value in part] if isinstance(part, list) else part


def _text(prompt: Any, salt: bytes) -> Asked | None:
    """A prompt of the completions endpoint: one text, or one list of token ids."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        (prompt,) = prompt
    pieces, tokens = _Pieces(salt), None
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        tokens = len(prompt)
        for start in range(0, tokens, PIECE // 4):
            pieces.add(json.dumps(prompt[start : start + PIECE // 4]))
    elif isinstance(prompt, str) and prompt:
        pieces.add(prompt)
    else:
        return None
    return Asked(tuple(pieces.chain), tuple(pieces.ends), (len(pieces.chain) + 1) // 2, True, False, tokens)


class _Pieces:
    """The digests of a prompt while it is read."""

    def __init__(self, salt: bytes) -> None:
        self.digest = blake2b(digest_size=16, key=salt)
        self.chain: list[bytes] = []
        self.ends: list[int] = []
        self.characters = 0

    def add(self, text: str) -> None:
        """One part; what follows is never taken for its continuation."""
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            self.digest.update(piece.encode("utf-8", "surrogatepass"))
            self.characters += len(piece)
            self.chain.append(self.digest.digest())
            self.ends.append(self.characters)
        self.digest.update(b"\xff")  # in no UTF-8 text
