"""What an endpoint tells of itself without being asked to generate. Inputs are its pages, by the paths that engines give them.

Names: ``/v1/models`` (all), ``/version`` (vLLM), ``/server_info`` (SGLang), ``/props`` (llama.cpp), ``/metrics`` and
``/prometheus/metrics`` (TensorRT-LLM). The page of SGLang and its field names are those of its source, version 0.5.23 (``http_server.py``,
``arg_groups/fields``, ``get_init_info`` of its scheduler); no running one has been asked. What is not found under them is unknown, and a
note says so.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from simulator.errors import Mistake, UserError
from simulator.probe.client import Client
from simulator.probe.dialects import dialect_of
from simulator.probe.prometheus import read_samples
from simulator.units import whole_number
from simulator.wire.counts import count_of

METRICS_PATHS = ("/metrics", "/prometheus/metrics")
CACHE_LABELS = ("cache_dtype", "enable_prefix_caching", "num_cpu_blocks", "kv_cache_memory_bytes")


@dataclass(frozen=True)
class Told:
    """What the pages say; None is unknown.

    Attributes
    ----------
    model : str
    api : str
        Path below which the OpenAI endpoints are.
    dialect, metrics_path : str
        ``none`` and empty where there are no metrics that can be read.
    version : str or None
    limits : dict of str to int
        Of `Endpoint`'s fields ``max_context_tokens``, ``max_seqs``, ``block_tokens``, ``kv_blocks``, ``token_budget`` those that are told.
    vocabulary : int or None
    facts : dict
    """

    model: str
    api: str
    dialect: str
    metrics_path: str
    version: str | None
    limits: dict[str, int]
    vocabulary: int | None
    facts: dict[str, Any] = field(default_factory=dict)


async def read_pages(client: Client, model: str | None) -> Told:
    """Reads the pages.

    Raises
    ------
    UserError
        When there is no list of models, or none or several to choose from.
    """
    api, models = await _models(client)
    card = _chosen(models, model)
    root = re.sub(r"/v\d+$", "", api)
    dialect, path, page = await _metrics(client, root)
    limits: dict[str, int] = {}
    facts: dict[str, Any] = {"metrics_path": path}
    _note(limits, "max_context_tokens", card.get("max_model_len"))
    meta = _mapping(card.get("meta"))
    version = await _engine(client, root, limits, facts)
    _cache(page, limits, facts)
    health = await client.get(f"{root}/health")
    facts["health"] = health.status if health.status is not None else "no answer"
    return Told(str(card["id"]), api, dialect, path, version, limits, count_of(meta.get("n_vocab")), facts)


async def _models(client: Client) -> tuple[str, list[dict[str, Any]]]:
    """The path of the API and the models it lists."""
    given = client.address.path
    bases = [given] if re.search(r"/v\d+$", given) else [f"{given}/v1", given]
    said = ""
    for base in bases:
        exchange = await client.get(f"{base}/models")
        if exchange.error is not None or exchange.status != 200:
            said = said or exchange.error or client.message(exchange)
            if exchange.status in (401, 403):
                hint = "give the key in the environment variable AGENTWATT_API_KEY, or in a file by --key-file"
                raise UserError(Mistake("endpoint", "key", f"{said}", "a key that the endpoint accepts", hint))
            continue
        data = _mapping(_json(exchange.content)).get("data")
        models = [card for card in data if isinstance(card, dict) and card.get("id")] if isinstance(data, list) else []
        if models:
            return base, models
        said = said or "a list without models"
    allowed = "the base URL of an OpenAI-compatible endpoint, as http://host:8000/v1"
    raise UserError(Mistake("endpoint", "URL", f"{bases[0]}/models: {said}", allowed))


def _chosen(models: list[dict[str, Any]], model: str | None) -> dict[str, Any]:
    names = [str(card["id"]) for card in models]
    if model is None and len(models) == 1:
        return models[0]
    if model in names:
        return models[names.index(model)]
    found = repr(model) if model is not None else f"{len(names)} models to choose from"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise UserError(Mistake("endpoint", "--model", found, shown))


async def _metrics(client: Client, root: str) -> tuple[str, str, str]:
    """Dialect, path and text of the metrics page."""
    for path in METRICS_PATHS:
        exchange = await client.get(root + path)
        if exchange.status == 200 and exchange.error is None:
            text = exchange.content.decode("utf-8", "replace")
            dialect = dialect_of(text)
            if dialect is not None:
                return dialect.name, root + path, text
    return "none", "", ""


async def _engine(client: Client, root: str, limits: dict[str, int], facts: dict[str, Any]) -> str | None:
    """Version and limits by the pages of one engine or another."""
    version: Any = None
    props = await _document(client, f"{root}/props")
    if "default_generation_settings" in props:  # llama.cpp
        version = props.get("build_info")
        _note(limits, "max_context_tokens", _mapping(props["default_generation_settings"]).get("n_ctx"))
        _note(limits, "max_seqs", props.get("total_slots"))
        slots = _json((await client.get(f"{root}/slots")).content)
        facts["slots"] = len(slots) if isinstance(slots, list) else None
    for path in ("/server_info", "/get_server_info"):
        info = {} if version else await _document(client, root + path)
        if "chunked_prefill_size" in info or "page_size" in info:  # SGLang
            version = info.get("version")
            for name, theirs in (
                ("max_seqs", "max_running_requests"),
                ("block_tokens", "page_size"),
                ("token_budget", "chunked_prefill_size"),
            ):
                _note(limits, name, info.get(theirs))
            _note(limits, "max_context_tokens", info.get("context_length"))
            total, block = count_of(info.get("max_total_num_tokens")), limits.get("block_tokens")
            _note(limits, "kv_blocks", total // block if total and block else None)
            break
    if version is None:
        version = (await _document(client, f"{root}/version")).get("version")
    return str(version)[:80] if version else None


def _cache(page: str, limits: dict[str, int], facts: dict[str, Any]) -> None:
    """Block size and blocks, as vLLM's metrics tell them by labels."""
    for sample in read_samples(page, ("vllm:cache_config_info",)):
        for name, label in (("block_tokens", "block_size"), ("kv_blocks", "num_gpu_blocks")):
            _note(limits, name, whole_number(sample.labels.get(label, "")))
        facts |= {label: sample.labels[label] for label in CACHE_LABELS if label in sample.labels}


async def _document(client: Client, path: str) -> dict[str, Any]:
    exchange = await client.get(path)
    return _mapping(_json(exchange.content)) if exchange.status == 200 and exchange.error is None else {}


def _note(limits: dict[str, int], name: str, value: Any) -> None:
    count = count_of(value)
    if count:
        limits.setdefault(name, count)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
