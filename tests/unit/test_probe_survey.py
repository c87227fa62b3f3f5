"""What a survey finds out about hand-made engines, and what it says of those that lack something."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from simulator.calibration.cell import Endpoint, Span, Turn
from simulator.calibration.cell_file import endpoint_text, read_endpoint
from simulator.errors import UserError
from simulator.probe.client import Client, Unreachable
from simulator.probe.prompts import Prompts
from simulator.probe.survey import survey
from simulator.wire.address import address_of
from tests.unit.fake_endpoint import KEY, serving
from tests.unit.fake_engine import Engine


def look(engine: Engine, model: str | None = None, key: str = "", path: str = "") -> Endpoint:
    async def looked() -> Endpoint:
        client = Client(address_of(engine.url + path, "calibrate", "URL"), key, time.perf_counter, 20.0)
        try:
            return await survey(client, model, 11)
        finally:
            client.close()

    with serving(engine):
        return asyncio.run(looked())


@pytest.mark.parametrize("path", ["", "/v1"])
def test_an_engine_that_can_everything(path: str) -> None:
    engine = Engine(step_s=0.0)
    found = look(engine, path=path)
    assert (found.model, found.dialect, found.version) == ("tiny", "vllm", "0.32.0")
    assert found.token_ids
    assert found.ignore_eos
    assert found.min_tokens
    assert found.stream_usage
    assert found.cached_tokens
    assert (found.max_context_tokens, found.block_tokens, found.kv_blocks) == (8192, 16, 1024)
    assert (found.max_seqs, found.token_budget) == (None, None), "not told, not guessed"
    assert found.vocabulary == 32_000
    assert found.facts["running_usage"] is True
    assert found.facts["frame_tokens"] == 0
    assert found.facts["cached_of_repeated"] == 2047
    assert found.notes == ()
    assert read_endpoint(endpoint_text(found)) == found


@pytest.mark.parametrize("refused", ["ignore_eos", "min_tokens", "temperature", "continuous_usage_stats", "stream_options"])
def test_a_field_that_is_refused_is_left_out_and_told(refused: str) -> None:
    engine = Engine(step_s=0.0, refused=(refused,), dialect="llamacpp")
    found = look(engine)
    asked = json.loads(Prompts(found, 1).body(Turn((Span(0, 0, 8),), 4)))
    assert refused not in asked
    assert refused not in asked.get("stream_options", {})
    assert len([note for note in found.notes if "refuses" in note]) >= 1
    others = {"ignore_eos", "min_tokens", "temperature"} - {refused}
    assert others <= asked.keys(), "only that one is left out"


def test_running_counts_that_do_not_come_are_not_asked_for() -> None:
    found = look(Engine(step_s=0.0, running_usage=False))
    assert found.stream_usage
    assert found.facts["running_usage"] is False


def test_words_stand_in_for_token_ids_each_checked() -> None:
    engine = Engine(step_s=0.0, ids=False, frame=3, odd_words=("people", "water"), cached=False)
    found = look(engine)
    assert not found.token_ids
    assert found.facts["frame_tokens"] == 3
    words = found.facts["words"]
    assert "people" not in words
    assert "water" not in words
    assert len(words) == found.vocabulary > 200
    assert "prompts are words instead of token ids" in found.notes
    assert not found.cached_tokens
    assert any("--enable-prompt-tokens-details" in note for note in found.notes)
    prompt = json.loads(Prompts(found, 1).body(Turn((Span(0, 0, 50),), 4)))["prompt"]
    assert len(prompt.split()) == 50


def test_an_endpoint_of_chats_only() -> None:
    engine = Engine(step_s=0.0, chat_only=True, frame=5, dialect="none")
    found = look(engine)
    assert found.facts["path"] == "/v1/chat/completions"
    assert (found.token_ids, found.facts["frame_tokens"], found.dialect) == (False, 5, "none")
    assert any("no metrics" in note for note in found.notes)
    assert json.loads(Prompts(found, 1).body(Turn((Span(0, 0, 8),), 4)))["messages"][0]["role"] == "user"


def test_without_counts_it_is_told_what_cannot_be_checked() -> None:
    found = look(Engine(step_s=0.0, usage=False, running_usage=False, dialect="none"))
    assert (found.stream_usage, found.token_ids, found.cached_tokens) == (False, False, False)
    assert any("reports no token counts" in note for note in found.notes)
    assert any("could not be checked" in note for note in found.notes)


def test_llama_cpp_tells_slots_and_context() -> None:
    found = look(Engine(step_s=0.0, dialect="llamacpp", vocabulary=4096))
    assert (found.dialect, found.version, found.max_seqs, found.vocabulary) == ("llamacpp", "b6000", 4, 4096)


def test_a_small_vocabulary_is_not_exceeded() -> None:
    engine = Engine(step_s=0.0, vocabulary=512)
    assert look(engine).vocabulary == 512
    drawn = [token for request in engine.requests for token in request["prompt"] if isinstance(request["prompt"], list)]
    assert max(drawn) < 512


@pytest.mark.parametrize("model", [None, "third"])
def test_one_of_several_models_is_to_be_named(model: str | None) -> None:
    with pytest.raises(UserError, match="first, second"):
        look(Engine(models=("first", "second")), model)


def test_models_named_are_taken() -> None:
    assert look(Engine(step_s=0.0, models=("first", "second")), "second").model == "second"


def test_a_key_that_is_not_accepted_is_told_without_it() -> None:
    engine = Engine(key="another")
    with pytest.raises(UserError, match="AGENTWATT_API_KEY") as caught:
        look(engine, key=KEY)
    assert KEY not in str(caught.value)


def test_an_address_without_an_endpoint() -> None:
    with pytest.raises(UserError, match="HTTP 404"):
        look(Engine(), path="/elsewhere")
    engine = Engine()
    engine.server_close()

    async def ask() -> Any:
        return await survey(Client(address_of(engine.url, "calibrate", "URL"), KEY, time.perf_counter), None, 1)

    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        asyncio.run(ask())
    assert KEY not in str(caught.value)


def test_an_endpoint_that_answers_errors_to_all() -> None:
    with pytest.raises(UserError, match="HTTP 500"):
        look(Engine(dict.fromkeys(range(50), "500")))


KNOWN = {"version": "0.5.23", "max_running_requests": 48, "page_size": 16, "chunked_prefill_size": 4096, "max_total_num_tokens": 160_000}


@pytest.mark.parametrize(
    ("info", "limits", "version"),
    [
        (KNOWN, (48, 16, 10_000, 4096), "0.5.23"),
        (KNOWN | {"chunked_prefill_size": -1}, (48, 16, 10_000, None), "0.5.23"),
        ({"chunked_prefill_size": 4096, "max_total_num_tokens": 160_000}, (None, None, None, 4096), None),
        ({"version": "9", "settings": {"seats": 48}}, (None,) * 4, None),
        (None, (None,) * 4, None),
    ],
)
def test_sglang_tells_what_it_tells_by_names_that_are_known(
    info: dict[str, Any] | None, limits: tuple[int | None, ...], version: str | None
) -> None:
    """Its names are from general knowledge: other ones are unknown, and said to be."""
    found = look(Engine(step_s=0.0, dialect="sglang", info=info))
    assert found.dialect == "sglang"
    assert (found.max_seqs, found.block_tokens, found.kv_blocks, found.token_budget) == limits
    assert found.version == version
    assert any("by names that are known" in note for note in found.notes) is (limits == (None,) * 4)
