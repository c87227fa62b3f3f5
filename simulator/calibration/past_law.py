"""What past runs say of the step law, by accounting: what ran between two moments follows from all requests' times. Inputs: past runs.

Between its first and last token a request of n output tokens sees n - 1 steps. What the other sequences added to them is what they decoded
and prefilled in that time; so a measured time is a sum of known amounts times coefficients, and nothing has to be played. A first token's
time is used only of requests that were alone, for in a queue nobody outside knows which steps it waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulator.calibration.live_law import Observation
from simulator.calibration.live_play import FEATURES, Floats
from simulator.calibration.past_run import PastRequest, PastRun

HELD_OUT = 0.25
"""Share of a run's requests, the last ones, that nothing is fitted to."""

MOST_REQUESTS = 5000
"""Of a run; further ones are left out."""

SINGLY = 60
"""Measured requests up to which each is an observation of its own; of larger runs alike ones are averaged, `TOGETHER` at a time."""
TOGETHER, MOST_AVERAGES = 4, 8


def cut(run: PastRun) -> int:
    """The first request that is held out."""
    count = min(MOST_REQUESTS, len(run.requests))
    return count - int(HELD_OUT * count)


@dataclass(frozen=True)
class Columns:
    """Requests as columns, each of shape (requests,): sent, prefill's begin, first and last token in s; prompt, cached, output tokens."""

    sent: Floats
    begun: Floats
    first: Floats
    last: Floats
    prompt: Floats
    cached: Floats
    output: Floats

    @staticmethod
    def of(requests: Sequence[PastRequest]) -> "Columns":
        names = ("start_s", "first_s", "end_s", "prompt_tokens", "output_tokens")
        sent, first, end, prompt, output = (np.array([getattr(one, name) for one in requests], np.float64) for name in names)
        cached = np.array([min(one.cached_tokens or 0, one.prompt_tokens - 1) for one in requests], np.float64)
        return Columns(sent, begun(sent, first), first, end, prompt, cached, output)

    @cached_property
    def beside(self) -> Floats:
        """Other requests that decoded beside each, on average over its decoding, or over all its time if it has but one token."""
        low = np.where(self.last > self.first, self.first, self.sent)
        length = np.maximum(self.last - self.first, 0.0)
        found = np.zeros(len(low))
        for i, (since, until) in enumerate(zip(low, self.last, strict=True)):
            if until > since:
                own = length[i] if since == self.first[i] else 0.0
                found[i] = ((shares(self.first, self.last, since, until) * length).sum() - own) / (until - since)
        return found

    @property
    def side_by_side(self) -> int:
        """Most requests between first and last token at once."""
        marks = sorted([(one, 1) for one in self.first] + [(one, -1) for one in self.last])
        return int(np.cumsum([step for _, step in marks]).max())


def begun(sent: Floats, first: Floats) -> Floats:
    """When each prefill began: once the prompts that were sent before had their first tokens."""
    found = sent.copy()
    for i in range(len(sent)):
        ahead = first[:i][first[:i] < first[i]]
        found[i] = max(sent[i], ahead.max()) if len(ahead) else sent[i]
    return found


def shares(low: Floats, high: Floats, since: float, until: float) -> Floats:
    """Which share of each span lies between two moments, shape (spans,); a span of no length lies where its end is."""
    length = high - low
    inside = np.clip(np.minimum(high, until) - np.maximum(low, since), 0.0, None)
    point = (high > since) & (high <= until)
    return np.where(length > 0, inside / np.where(length > 0, length, 1.0), point)


def decode_features(at: Columns, i: int) -> Floats:
    """What ran from the first to the last token of a request, by `FEATURES`."""
    since, until = at.first[i], at.last[i]
    decoded = shares(at.first, at.last, since, until) * (at.output - 1)
    skipped = np.clip((since - at.first) / np.where(at.last > at.first, at.last - at.first, 1.0), 0.0, 1.0) * (at.output - 1)
    context = decoded * (at.prompt + skipped + decoded / 2)
    prefilled = shares(at.begun, at.first, since, until)
    fresh = at.prompt - at.cached
    tokens, pairs = (prefilled * fresh).sum(), (prefilled * fresh * (at.cached + fresh / 2)).sum()
    steps, sequences = at.output[i] - 1, decoded.sum()
    return np.array([steps, sequences, context.sum(), tokens, pairs, sequences + tokens])


def prefill_features(at: Columns, i: int, budget: int) -> Floats:
    """What ran until the first token of a request that was alone."""
    fresh = at.prompt[i] - at.cached[i]
    return np.array([np.ceil(fresh / budget), 0.0, 0.0, fresh, fresh * (at.cached[i] + fresh / 2), fresh])


def alone(at: Columns, i: int) -> bool:
    """Whether nothing else was in flight until the first token of a request."""
    return bool(((at.sent < at.first[i]) & (at.last > at.sent[i])).sum() == 1)


def observations(run: PastRun, budget: int, name: str) -> list[Observation]:
    """What the measured requests of a run say, but those held out.

    Parameters
    ----------
    run : PastRun
    budget : int
        Tokens of a step: how many steps a prompt that is alone takes.
    name : str
        Of the run, unique.
    """
    requests = run.requests[:MOST_REQUESTS]
    at = Columns.of(requests)
    groups: dict[tuple[str, str], list[tuple[float, Floats]]] = {}
    for i in range(cut(run)):
        request = requests[i]
        if request.measured and request.tpot_s is not None:
            row = request.tpot_s * (request.output_tokens - 1), decode_features(at, i)
            groups.setdefault((f"{name} {likeness(request, at.beside[i])}", "decode"), []).append(row)
        if request.measured and alone(at, i):
            row = request.first_s - request.start_s, prefill_features(at, i, budget)
            groups.setdefault((f"{name} {likeness(request, 0)} alone", "ttft"), []).append(row)
    singly = sum(map(len, groups.values())) <= SINGLY
    return [one for (alike, quantity), own in groups.items() for one in _averages(alike, quantity, own, singly)]


def likeness(request: PastRequest, beside: float) -> str:
    """What alike requests share."""
    cached = f" cached~{near(request.cached_tokens)}" if request.cached_tokens else ""
    return f"prompt~{near(request.prompt_tokens)}{cached} beside~{near(beside)}"


def _averages(alike: str, quantity: str, own: Sequence[tuple[float, Floats]], singly: bool) -> list[Observation]:
    """Alike requests as a few observations, each of the mean of some of them."""
    count = len(own) if singly else max(1, min(MOST_AVERAGES, len(own) // TOGETHER))
    found = []
    for part in range(count):
        some = own[part::count]
        seconds, features = float(np.mean([one[0] for one in some])), np.mean([one[1] for one in some], axis=0)
        requests = 1.0 if quantity == "ttft" else 0.0
        found.append(Observation(alike, f"{alike} {part + 1}", "replay", quantity, seconds, features[None, :], np.ones(1), requests))
    return found


def near(value: float) -> int:
    """A number as its neighbours see it, in steps of half an octave."""
    return round(2 ** (round(2 * float(np.log2(max(1.0, value)))) / 2)) if value > 0 else 0


assert len(FEATURES) == 6
