"""A YAML document whose values know their line. It comes from a shipped file, a path or an inline mapping; duplicate keys are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from simulator.catalog import find_data
from simulator.errors import Mistake, UserError

INLINE = "inline"
"""File name given to mappings that were not read from a file."""

SHIPPED = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads what is shipped many times faster; what others wrote is read by the one that tells a mistake's place the same everywhere and
refuses bottomless nesting."""


@dataclass(frozen=True)
class Raw:
    """A YAML value with its line; a mapping's value is a dict of `Raw`, a list's a list of them."""

    value: Any
    line: int


def read(ref: str | Path | Mapping[str, Any], kind: str, mistakes: list[Mistake]) -> tuple[str, dict[str, Raw]]:
    """File name for messages, and the top mapping. Raises `UserError` when there is no mapping to read; lesser mistakes are gathered."""
    if isinstance(ref, Mapping):
        wrapped = wrap(ref)
        assert isinstance(wrapped.value, dict)
        return INLINE, wrapped.value
    is_path = isinstance(ref, Path) or str(ref).endswith((".yaml", ".yml"))
    path = Path(ref) if is_path else find_data(kind, str(ref))
    file = f"{path.parent.name}/{path.name}" if not is_path else str(path)
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader if is_path else SHIPPED)
    except OSError as error:
        raise UserError(Mistake(str(ref), "", "no readable file", "a YAML file", error.strerror or "")) from error
    except UnicodeDecodeError as error:
        raise UserError(Mistake(file, "", "bytes that are not UTF-8", "a YAML file in UTF-8")) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise UserError(Mistake(file, "", error.problem or "no YAML", "YAML", line=mark.line + 1 if mark else 0)) from error
    except yaml.YAMLError as error:
        raise UserError(Mistake(file, "", str(error).splitlines()[0], "YAML")) from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(Mistake(file, "", "no mapping", "a mapping of fields", line=1))
    try:
        value = _plain(node, file, "", mistakes).value
    except RecursionError as error:
        raise UserError(Mistake(file, "", "an anchor that holds itself", "plain YAML")) from error
    assert isinstance(value, dict)
    return file, value


def _plain(node: yaml.Node, file: str, place: str, mistakes: list[Mistake]) -> Raw:
    """Turn a YAML node into Python values that know their line, refusing duplicate keys on the way."""
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Raw] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in out:
                first = out[key].line
                mistakes.append(Mistake(file, place + key, "the same key twice", "each key once", f"first on line {first}",
                                        key_node.start_mark.line + 1))  # fmt: skip
                continue
            out[key] = replace(_plain(value_node, file, f"{place}{key}.", mistakes), line=key_node.start_mark.line + 1)
        return Raw(out, line)
    if isinstance(node, yaml.SequenceNode):
        return Raw([_plain(item, file, f"{place}{i}.", mistakes) for i, item in enumerate(node.value)], line)
    constructor = yaml.SafeLoader("")
    try:
        return Raw(constructor.construct_object(node, deep=True), line)
    except (yaml.YAMLError, ValueError):
        return Raw(str(node.value), line)


def wrap(value: Any) -> Raw:
    """Python values as a document without lines (all 0)."""
    if isinstance(value, Mapping):
        return Raw({str(key): wrap(item) for key, item in value.items()}, 0)
    return Raw([wrap(item) for item in value] if isinstance(value, list | tuple) else value, 0)


def bare(raw: Raw) -> Any:
    """The Python values again."""
    if isinstance(raw.value, dict):
        return {key: bare(item) for key, item in raw.value.items()}
    return [bare(item) for item in raw.value] if isinstance(raw.value, list) else raw.value
