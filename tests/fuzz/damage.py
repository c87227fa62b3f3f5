"""Ways to damage a YAML or JSON document, a table or a text: one odd value, a key lost or renamed, a character too many."""

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: list[Any] = (
    [None, True, False, 0, -1, 1, 10**6, 10**9, 10**15, 10**30, -(10**30), 0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"),
     "", "x", "1e3", "10 s", "../../x", "hgx_h200", "deepseek_v4_pro", "\x00", "\x1b[2J", "é" * 300, [], [1], [[]], {}, {"a": 1},
     {"value": 1, "unit": "s", "source": "x", "quality": "assumed"}, {"extends": "hgx_h200"}, ["a", "a"], [None], "&a", "!!python/name:os"]
)  # fmt: skip
"""Values that somebody may write where another kind is meant."""
ODD = st.sampled_from(ODD_VALUES)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a document, its root left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in [(*place, key), *places(item, (*place, key))]]


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to three things wrong."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        *above, key = draw(st.sampled_from(found))
        at = document
        for step in above:
            at = at[step]
        how = draw(st.sampled_from(["odd", "odd", "odd", "gone", "twice", "other name"]))
        if how == "odd" or (how != "gone" and not isinstance(at, dict)):
            at[key] = deepcopy(draw(ODD))
        elif how == "gone":
            del at[key]
        elif how == "twice":
            at[f"{key}_"] = deepcopy(at[key])
        else:
            at[draw(st.text(max_size=5))] = at.pop(key)
    return document


@st.composite
def scratched(draw: st.DrawFn, text: str) -> str:
    """A text with a few characters lost, doubled, or put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 1, 5, 60]))
        text = (
            text[:at]
            + draw(st.sampled_from(["", ":", "\n", "  ", "\t", "- ", "'", '"', "{", "]", "&a ", "*a", "# ", ",", "\x00", "9" * 30]))
            + text[at + length :]
        )
    return text
