"""How texts without recorded counts are counted, and what says so."""

import json
from pathlib import Path

import pytest

from simulator.errors import UserError
from simulator.workload.load import load_trajectories
from simulator.workload.messages import Prompt, estimated_tokens
from simulator.workload.records import Reading
from simulator.workload.tokens import TokenRule, by_characters, by_tokenizer

WORDS = TokenRule("words", lambda text: len(text.split()), 1.0)
RUN = {
    "trajectory": [
        {"action": "ls", "response": "let me look", "messages": [{"role": "user", "content": "mend the bug in this file please"}]},
    ],
    "info": {},
    "history": [],
}


def test_characters_are_rounded_up_and_never_none():
    assert by_characters().tokens(7) == 2
    assert by_characters(4.0).tokens(9) == 3
    assert by_characters().tokens(0) == 1


def test_a_rule_measures_prompts_and_shares_them_out():
    prompt = Prompt(WORDS)
    for text in ("one two three", "four"):
        prompt.add(text)
    assert (prompt.tokens, prompt.sizes) == (4, [3, 4])
    assert prompt.ends(8) == [6, 8]
    assert estimated_tokens("a b c d e", Reading(token_rule=WORDS)) == 5


def test_the_set_names_its_rule(tmp_path: Path):
    file = tmp_path / "run.traj"
    file.write_text(json.dumps(RUN), encoding="utf-8")
    usual, words = load_trajectories(file), load_trajectories(file, Reading(token_rule=WORDS))
    assert "characters as JSON over 3.5" in str(usual.provenance)
    assert "estimated tokens: words" in str(words.provenance)
    assert usual.trajectories[0].calls[0].output_tokens == 4  # 11 characters
    assert words.trajectories[0].calls[0].output_tokens == 3


def test_without_the_extra_or_a_good_file_it_says_what_to_do(tmp_path: Path):
    with pytest.raises(UserError, match=r"agentwatt\[tokens\]|tokenizer.json"):
        by_tokenizer(tmp_path / "none.json")


def test_a_tokenizer_file_counts(tmp_path: Path):
    tokenizers = pytest.importorskip("tokenizers", reason="the extra 'tokens' (tokenizers) is not installed")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "look": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    rule = by_tokenizer(file)
    assert (rule.name, rule.tokens(rule.measure("look at me"))) == ("tokens of tokenizer.json", 3)
