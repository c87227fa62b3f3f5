"""A YAML document whose values know their line. It comes from a shipped file, a path or an inline mapping; duplicate keys are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from simulator.catalog import find_data, refuse_stream
from simulator.errors import Mistake, UserError

INLINE = "inline"
"""File name given to mappings that were not read from a file."""

MOST_BYTES, MOST_VALUES = 4 << 20, 20_000
"""Of one YAML file; the largest that ships has 5 kB."""
TOO_DEEP = "values nested too deeply, or an anchor that holds itself"

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
    refuse_stream(path)
    file = f"{path.parent.name}/{path.name}" if not is_path else str(path)
    try:
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(Mistake(file, "", "a longer file", f"at most {MOST_BYTES:,} bytes of YAML"))
        node = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader if is_path or path.name != f"{ref}.yaml" else SHIPPED)
    except OSError as error:
        raise UserError(Mistake(str(ref), "", "no readable file", "a YAML file", error.strerror or "")) from error
    except UnicodeDecodeError as error:
        raise UserError(Mistake(file, "", "bytes that are not UTF-8", "a YAML file in UTF-8")) from error
    except ValueError as error:
        raise UserError(Mistake(repr(str(ref)), "", "no name of a file", "a YAML file")) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise UserError(Mistake(file, "", error.problem or "no YAML", "YAML", line=mark.line + 1 if mark else 0)) from error
    except yaml.YAMLError as error:
        raise UserError(Mistake(file, "", str(error).splitlines()[0], "YAML")) from error
    except RecursionError as error:
        raise UserError(Mistake(file, "", TOO_DEEP, "plain YAML")) from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(Mistake(file, "", "no mapping", "a mapping of fields", line=1))
    value = _Plain(file, mistakes).document(node).value
    assert isinstance(value, dict)
    return file, value


def read_value(text: str, place: str) -> Any:
    """The value that a text is in YAML, as on a command line; the text itself where it is none."""
    mistakes: list[Mistake] = []
    try:
        node = yaml.compose(text[: MOST_BYTES + 1], Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    except RecursionError as error:
        raise UserError(Mistake(place, "", TOO_DEEP, "plain YAML")) from error
    value = None if node is None else bare(_Plain(place, mistakes).document(node))
    if mistakes:
        raise UserError(mistakes)
    return value


class _Plain:
    """Turns YAML nodes into Python values that know their line, refusing duplicate keys on the way, and anchors that unfold without end."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        self.file, self.mistakes, self.left = file, mistakes, MOST_VALUES
        self.scalars = yaml.SafeLoader("")

    def document(self, node: yaml.Node) -> Raw:
        try:
            return self.value(node, "")
        except RecursionError as error:
            raise UserError(Mistake(self.file, "", TOO_DEEP, "plain YAML")) from error

    def value(self, node: yaml.Node, place: str) -> Raw:
        line = node.start_mark.line + 1
        self.left -= 1
        if self.left < 0:
            raise UserError(Mistake(self.file, "", "more values", f"at most {MOST_VALUES:,}, anchors unfolded", line=line))
        if isinstance(node, yaml.MappingNode):
            return Raw(self.mapping(node, place), line)
        if isinstance(node, yaml.SequenceNode):
            return Raw([self.value(item, f"{place}{i}.") for i, item in enumerate(node.value)], line)
        try:
            found = self.scalars.construct_object(node, deep=True)
            if isinstance(found, str) and found.encode("utf-8", "replace").decode() != found:
                self.mistakes.append(Mistake(self.file, place.rstrip("."), "half a surrogate pair", "text", line=line))
            return Raw(found, line)
        except (yaml.YAMLError, ValueError):
            return Raw(str(node.value), line)

    def mapping(self, node: yaml.MappingNode, place: str) -> dict[str, Raw]:
        out: dict[str, Raw] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in out:
                hint = f"first on line {out[key].line}"
                self.mistakes.append(Mistake(self.file, place + key, "the same key twice", "each key once", hint, line))
                continue
            out[key] = replace(self.value(value_node, f"{place}{key}."), line=line)
        return out


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
