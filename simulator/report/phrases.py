"""Words and number formats that tables, figures and the HTML report share. Inputs are fields of `simulator.capacity.results`."""

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.capacity.results import Answer

BASES = {
    "accelerator": "modelled draw of GPU die and HBM under this load, the benchmark's own basis",
    "tdp": "rated thermal design power of each GPU",
    "nameplate": "the system's rated maximum, shared out over its GPUs",
    "facility": "accelerators, hosts, switches and fans under this load, times the PUE of the site",
}
"""The four power bases and what each counts."""

WORDS = {
    "launch_floor": "launch floor",
    "weights": "weight reads",
    "kv_read": "KV reads",
    "decode_compute": "decode compute",
    "prefill_compute": "prefill compute",
    "idle": "idle",
    "kv_memory": "KV memory",
    "seats": "batch seats",
    "token_budget": "token budget",
    "speed": "output speed",
    "ttft": "TTFT",
    "e2e_speed": "E2E speed",
    "hbm_bandwidth": "HBM bandwidth",
    "kv_capacity": "KV capacity",
    "decode_seat": "decode seat wait",
    "decode_slot": "decode slot wait",
    "transfer": "KV transfer",
    "first_decode": "first decode step",
    "": "none",
}
"""Names of limiters, clauses, step-time terms and stages of a call as people say them."""

QUALITIES = {
    "datasheet": "a vendor's stated value",
    "measured": "a published measurement",
    "fitted": "fitted to published measurements",
    "estimated": "a third party's or our own estimate",
    "assumed": "a judgement, no measurement behind it",
}
"""The five qualities of a number, best first."""


def plain(text: object) -> str:
    """Text without control characters, so that a name can neither move a cursor nor break a line."""
    line = str(text)
    return line if line.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def words(key: str) -> str:
    """A limiter, clause or term in words; an unknown key with its underscores opened."""
    return WORDS.get(key, plain(key).replace("_", " "))


def limited_by(limiter: str, pool: str, pools: Sequence[object]) -> str:
    """A limiter in words, with its pool when there are several."""
    return f"{words(limiter)} ({plain(pool)})" if pool and len(pools) > 1 else words(limiter)


def number(value: float) -> str:
    """Three significant digits, whole above 100 and with thousands separators: 0.123, 12.3, 1,235."""
    if value != value:
        return "–"
    if value == float("inf"):
        return "∞"
    size = abs(value)
    if size >= 99.95 or value == 0:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 else f"{value:#.3g}"


def span(low: float, high: float) -> str:
    """An interval as ``low–high``; one dash where neither is known."""
    if low != low and high != high:
        return number(low)
    return f"{number(low)}–{number(high)}"


def percent(share: float) -> str:
    """A share as per cent: 94.1 %."""
    return f"{100 * share:.1f} %"


def times(ratio: float) -> str:
    """A ratio as a factor: 0.013×, 0.21×, 2.40×, 12.1×; a dash where it is not known."""
    if ratio != ratio:
        return number(ratio)
    if ratio < 0.095:
        return f"{ratio:.2g}×"
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{number(ratio)}×"


def tier(slo: Mapping[str, Any]) -> str:
    """The short name of an SLO: ``20 tok/s & 10 s``; ``30 tok/s E2E`` for the end-to-end form."""
    parts = []
    if slo.get("speed_tok_s"):
        parts.append(f"{slo['speed_tok_s']:g} tok/s")
    if slo.get("ttft_s"):
        parts.append(f"{slo['ttft_s']:g} s")
    if slo.get("e2e_speed_tok_s"):
        parts.append(f"{slo['e2e_speed_tok_s']:g} tok/s E2E")
    return " & ".join(parts)


def promise(slo: Mapping[str, Any]) -> str:
    """The SLO as a sentence part: what must be true of the calls."""
    parts = []
    if slo.get("speed_tok_s"):
        parts.append(f"P{slo['speed_percentile']:g} output speed of at least {slo['speed_tok_s']:g} tok/s")
    if slo.get("ttft_s"):
        parts.append(f"P{slo['ttft_percentile']:g} TTFT of at most {slo['ttft_s']:g} s")
    if slo.get("e2e_speed_tok_s"):
        parts.append(f"P{slo['e2e_percentile']:g} end-to-end speed of at least {slo['e2e_speed_tok_s']:g} tok/s")
    return " and ".join(parts)


def by_tier(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers grouped by SLO tier, tiers and systems in the order in which they first come."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(tier(answer.slo), []).append(answer)
    return groups


def systems(answers: Sequence[Answer]) -> list[str]:
    """The systems in the order in which they first come: a system's colour follows its place here."""
    return list(dict.fromkeys(answer.system for answer in answers))


def finding(answers: Sequence[Answer]) -> str:
    """One tier's answers as a sentence: who holds how many agents per MW of accelerator power, and by which factor."""
    ranked = sorted(answers, key=lambda a: a.agents_per_mw.accelerator, reverse=True)
    best = ranked[0]
    if best.agents_held == 0:
        return f"At {tier(best.slo)} none of these systems holds even one agent."
    text = f"At {tier(best.slo)}, {plain(best.system)} holds {number(best.agents_per_mw.accelerator)} agents per MW of accelerator power"
    parts = []
    for other in ranked[1:]:
        if other.agents_held == 0:
            parts.append(f"{plain(other.system)} does not hold one agent")
            continue
        parts.append(f"{_factor(best, other)} the {number(other.agents_per_mw.accelerator)} of {plain(other.system)}")
    return ", ".join([text, *parts]) + "."


def _factor(best: Answer, other: Answer) -> str:
    """The ratio of two answers per MW; with the range that their intervals leave it, when that is wider than 3 %."""
    factor = best.agents_per_mw.accelerator / other.agents_per_mw.accelerator
    ours, theirs = (a.agents_per_mw_interval.get("accelerator", (0.0, 0.0)) for a in (best, other))
    if not ours[0] or not theirs[0]:
        return times(factor)
    low, high = ours[0] / theirs[1], ours[1] / theirs[0]
    return times(factor) if high < 1.03 * low else f"{times(factor)} ({times(low)} to {times(high)})"


def grouped(verb: str, found: Sequence[tuple[str, str, str]]) -> str:
    """``X limits every case``, or ``X limits a at t, u, and b at t; Y limits ..`` from triples of (X, system, tier)."""
    cases: dict[str, dict[str, list[str]]] = {}
    for key, system, name in found:
        cases.setdefault(key, {}).setdefault(system, []).append(name)
    if len(cases) == 1 and len(found) > 1:
        text = f"{next(iter(cases))} {verb} in every case"
    else:
        text = "; ".join(f"{key} {verb} for {', and '.join(map(_at, who, who.values()))}" for key, who in cases.items())
    return text[:1].upper() + text[1:]


def _at(system: str, names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return f"{system} at {' and at '.join(known)}" if known else system
