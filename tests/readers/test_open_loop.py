"""Readers of arrivals: Azure, BurstGPT, Qwen. Each file is written here by hand from its format's description."""

from pathlib import Path

import pytest

from simulator.errors import UserError
from simulator.workload import Call, load_trajectories
from simulator.workload.records import Reading
from tests.readers.test_mooncake import write

AZURE = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:17:04.4799600,396,109", "2023-11-16 18:17:03.9799600,4808,10"]


def test_azure_requests_arrive_when_they_did(tmp_path: Path) -> None:
    found = load_trajectories(write(tmp_path / "a.csv", *AZURE))
    assert [(t.arrival_s, t.calls) for t in found.trajectories] == [(0.0, (Call(0, 4808, 10),)), (0.5, (Call(0, 396, 109),))]
    assert "share nothing" in found.provenance["method"]


def test_bad_cells_are_named_with_their_line(tmp_path: Path) -> None:
    rows = [*AZURE, "yesterday,3,4", "2023-11-16 18:17:04,3", "2023-11-16 18:17:04,-3,4", "2023-11-16 18:17:04,3,many"]
    with pytest.raises(UserError) as caught:
        load_trajectories(write(tmp_path / "a.csv", *rows))
    places = [(mistake.line, mistake.field) for mistake in caught.value.mistakes]
    assert places == [(4, "TIMESTAMP"), (5, ""), (6, "ContextTokens"), (7, "GeneratedTokens")]
    assert len(load_trajectories(tmp_path / "a.csv", Reading(skip_bad=True)).trajectories) == 2


def test_burstgpt_requests_and_sessions(tmp_path: Path) -> None:
    header = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
    rows = ["5,s1,2,ChatGPT,100,10,110,Conversation log", "10,,1.5,GPT-4,50,5,55,API log", "17,s1,3,ChatGPT,140,20,160,Conversation log"]
    found = load_trajectories(write(tmp_path / "b.csv", header, *rows, "20,s1,1,ChatGPT,99,0,99,Conversation log"))
    alone, session = found.trajectories
    assert (alone.calls, alone.arrival_s, alone.labels) == ((Call(0, 50, 5),), 5.0, {"model": "GPT-4", "log": "API log"})
    assert session.calls == (Call(0, 100, 10, 10.0), Call(100, 40, 20))
    assert found.provenance["dropped"] == "1 failed requests"
    plain = load_trajectories(
        write(tmp_path / "c.csv", "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", "5,m,7,8,15,API log")
    )
    assert plain.trajectories[0].calls == (Call(0, 7, 8),)


def test_qwen_turns_of_a_chat_are_a_trajectory_and_share_across_chats(tmp_path: Path) -> None:
    common = {"timestamp": 1.5, "output_length": 9, "turn": 1}
    rows = [
        {**common, "chat_id": 7, "parent_chat_id": -1, "input_length": 40, "hash_ids": [1, 2, 3], "type": "text"},
        {**common, "chat_id": 8, "parent_chat_id": 7, "timestamp": 11.5, "input_length": 60, "hash_ids": [1, 2, 4, 5]},
        {**common, "chat_id": 9, "parent_chat_id": -1, "timestamp": 2.0, "input_length": 20, "hash_ids": [1, 9]},
    ]
    found = load_trajectories(write(tmp_path / "q.jsonl", *rows))
    one, other = found.trajectories
    assert one.calls == (Call(0, 40, 9, 10.0, prefix=0), Call(32, 28, 9))
    assert other.calls == (Call(0, 20, 9, prefix=0),)
    assert [prefix.tokens for prefix in found.prefixes] == [16]
    assert (one.arrival_s, other.arrival_s) == (0.0, 0.5)
