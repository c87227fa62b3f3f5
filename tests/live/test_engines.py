"""What a calibration relies on, asked of real engines: token ids in, as many tokens out as asked, cached tokens told, counters served."""

import httpx
import pytest

from tests.live.engines import Engine

pytestmark = pytest.mark.live

OUTPUT_TOKENS = 7
PROMPT = [300 + (37 * i) % 3000 for i in range(100)]


def complete(engine: Engine, prompt: list[int] | str) -> dict[str, int]:
    body = {"model": engine.model, "prompt": prompt, "max_tokens": OUTPUT_TOKENS, "ignore_eos": True}
    answer = httpx.post(engine.url + "/v1/completions", json=body, timeout=60).raise_for_status()
    usage = answer.json()["usage"]
    return {"in": usage["prompt_tokens"], "cached": usage["prompt_tokens_details"]["cached_tokens"], "out": usage["completion_tokens"]}


def counter(engine: Engine, name: str) -> float:
    lines = httpx.get(engine.url + "/metrics", timeout=10).raise_for_status().text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((name + "{", name + " ")))


def test_llamacpp_keeps_a_slots_last_prompt_to_the_token(llamacpp_engine: Engine) -> None:
    before = counter(llamacpp_engine, "llamacpp:prompt_tokens_total")
    assert complete(llamacpp_engine, PROMPT) == {"in": 100, "cached": 0, "out": OUTPUT_TOKENS}
    assert complete(llamacpp_engine, [*PROMPT[:77], *PROMPT[:9]]) == {"in": 86, "cached": 77, "out": OUTPUT_TOKENS}
    assert counter(llamacpp_engine, "llamacpp:prompt_tokens_total") - before == 109


def test_vllm_keeps_whole_blocks_of_a_prompt(vllm_engine: Engine) -> None:
    before = counter(vllm_engine, "vllm:prompt_tokens_total")
    assert complete(vllm_engine, PROMPT) == {"in": 100, "cached": 0, "out": OUTPUT_TOKENS}
    assert complete(vllm_engine, [*PROMPT[:77], *PROMPT[:9]]) == {"in": 86, "cached": 64, "out": OUTPUT_TOKENS}
    assert counter(vllm_engine, "vllm:prompt_tokens_total") - before == 186


@pytest.mark.parametrize("name", ["llamacpp_engine", "vllm_engine"])
def test_a_word_of_two_letters_after_a_space_is_one_token(name: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(name)
    assert complete(engine, " ab cd xy" * 10)["in"] == 30
