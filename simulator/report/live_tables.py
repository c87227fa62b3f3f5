"""Tables of a live endpoint: what it is and can do. Input is what a survey found out."""

from simulator.calibration.cell import Endpoint
from simulator.report.phrases import plain
from simulator.report.tables import Sheet


def endpoint_sheet(endpoint: Endpoint) -> Sheet:
    """What an endpoint told or showed, and what it lacks."""
    prompts = "token ids" if endpoint.token_ids else f"{endpoint.vocabulary} words of one token each"
    rows = (
        ("model", plain(endpoint.model)),
        ("engine, by its metrics", f"{endpoint.dialect} {plain(endpoint.version or '')}".strip()),
        ("prompts", prompts),
        ("answers of a fixed length", _yes(endpoint.ignore_eos)),
        ("token counts in streams", _yes(endpoint.stream_usage)),
        ("cached tokens", _yes(endpoint.cached_tokens)),
        ("context", _tokens(endpoint.max_context_tokens)),
        ("seats", _count(endpoint.max_seqs)),
        ("KV blocks", _count(endpoint.kv_blocks)),
        ("block", _tokens(endpoint.block_tokens)),
        ("token budget of a step", _tokens(endpoint.token_budget)),
    )
    note = "; ".join(plain(note) for note in endpoint.notes)
    return Sheet(plain(endpoint.url), ("what", "found"), rows, "ll", note)


def _yes(there: bool) -> str:
    return "yes" if there else "no"


def _count(value: int | None) -> str:
    return "not told" if value is None else f"{value:,}"


def _tokens(value: int | None) -> str:
    return "not told" if value is None else f"{value:,} tokens"
