"""Parses the text of a Weka session, whose prompts repeat each other's hash ids, at the cost of what each adds. Input: one JSON document.

A list of ids whose text goes on from that of the list before is that list and what follows; equal ids are then one object in memory, and
comparing prompts is cheap too. The result is what `json.loads` gives.
"""

import re
from typing import Any

from simulator.errors import UserError
from simulator.workload.source import parse_json

LIST = re.compile(rb'"hash_ids"\s*:\s*\[([\d,\s]*)\]')
"""Never inside a JSON text: there the quotes would have backslashes."""
MARK = "agentwatt: list number"


def parse_session(text: bytes, place: str) -> Any:
    """The JSON value of a session file.

    Raises
    ------
    UserError
        When it is no JSON.
    """
    lists: list[list[int]] = []
    before, ids = b"", list[int]()

    def taken(match: re.Match[bytes]) -> bytes:
        nonlocal before, ids
        own = match[1].strip()
        rest = own[len(before) :].strip() if before and own.startswith(before) else b"?"
        if rest.startswith(b",") and len(rest) > 1:
            ids = ids + _parsed(rest[1:])
        elif rest:
            ids = _parsed(own)
        before = own
        lists.append(ids)
        return b'"hash_ids":{"%s":%d}' % (MARK.encode(), len(lists) - 1)

    try:
        short = LIST.sub(taken, text)
    except UserError:
        return parse_json(text, place, 0)  # says where
    document = parse_json(short, place, 0)
    _put_back(document, lists)
    return document


def _parsed(text: bytes) -> list[int]:
    found: list[int] = parse_json(b"[" + text + b"]", "", 0)
    return found


def _put_back(document: Any, lists: list[list[int]]) -> None:
    """Puts the lists back in their places."""
    pending = [document]
    while pending:
        place = pending.pop()
        for key, value in place.items() if isinstance(place, dict) else enumerate(place):
            if isinstance(value, dict) and MARK in value:
                place[key] = lists[value[MARK]]
            elif isinstance(value, dict | list):
                pending.append(value)
