"""The recorder on loopback: bytes pass as they are, sessions come apart, and what is written holds numbers only."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from simulator.errors import UserError
from simulator.record.ledger import Ledger
from simulator.record.proxy import Proxy
from simulator.wire.address import address_of
from simulator.workload.journal import Recorded, journal_line
from tests.unit.fake_endpoint import KEY, SAID, SECRETS, WORDS, Server, messages, post, serving

PATH = "/v1/chat/completions"


class Recording:
    """A recorder in front of a fake endpoint."""

    def __init__(self, endpoint: Server, ask_usage: bool = False) -> None:
        self.endpoint = endpoint
        self.calls: list[Recorded] = []
        self.told: list[str] = []
        ledger = Ledger(self.calls.append)
        upstream = address_of(f"http://127.0.0.1:{endpoint.port}/v1", "record", "--to")
        self.proxy = Proxy(upstream, 0, ledger, b"salt" * 8, ask_usage, self.told.append)

    @property
    def port(self) -> int:
        return int(self.proxy.server_address[1])

    def ask(self, *texts: str, **headers: str) -> bytes:
        """One streamed chat call; returns the body."""
        status, _, body = post(self.port, PATH, {"messages": messages(*texts), "stream": True}, **headers)
        assert status == 200
        return body


@pytest.fixture
def recording() -> Iterator[Recording]:
    endpoint = Server()
    found = Recording(endpoint)
    with serving(endpoint), serving(found.proxy):
        yield found


@pytest.mark.parametrize(
    ("path", "request_", "headers"),
    [
        (PATH, {"messages": messages("s", "u"), "stream": True}, {}),
        (PATH, {"messages": messages("s", "u"), "stream": True}, {"X_No_Usage": "1"}),
        (PATH, {"messages": messages("s", "u")}, {}),
        (PATH, {"messages": messages("s", "u")}, {"X_Fail": "1"}),
        (PATH, {"messages": messages("s", "u")}, {"X_Gzip": "1", "Accept_Encoding": "gzip"}),
        ("/v1/responses", {"input": "hi", "stream": True}, {}),
        ("/v1/completions", {"prompt": "once upon", "stream": True}, {}),
        ("/v1/embeddings?x=%2F..", {"input": "hi"}, {}),
    ],
    ids=["chat stream", "without usage", "chat", "error", "gzip", "responses stream", "completions", "not recorded"],
)
def test_bytes_pass_as_they_are(recording: Recording, path: str, request_: dict[str, object], headers: dict[str, str]) -> None:
    direct = post(recording.endpoint.port, path, request_, **headers)
    passed = post(recording.port, path, request_, **headers)
    assert passed == direct
    (_, one, body), (_, other, again) = recording.endpoint.requests
    assert body == again
    assert {k: v for k, v in one.items() if k != "Host"} == {k: v for k, v in other.items() if k != "Host"}


def test_counts_come_from_usage_and_prompts_from_what_they_share(recording: Recording) -> None:
    recording.ask("s", "task")
    recording.ask("s", "task", "answer", "result")
    recording.ask("s", "task", "answer", "other result")
    first, second, third = recording.calls
    assert (first.prompt_tokens, first.kept_tokens, first.output_tokens, first.cached_tokens) == (200, 0, 7, 64)
    assert (second.session, second.after, second.prompt_tokens, second.kept_tokens, second.after_tool) == (0, 0, 300, 200, True)
    assert (third.session, third.after) == (0, 1), "the last message was replaced: most is shared with the second call"
    assert 200 < third.kept_tokens < 300
    assert (first.estimated, second.estimated, third.estimated) == ("", "", "kept")
    assert 0 <= first.start_s <= first.end_s <= second.start_s


def test_sessions_that_share_system_prompt_and_task_come_apart(recording: Recording) -> None:
    """Two agents with the same prompts begin, then go on in turns, each with its own history."""
    lengths = {}
    for agent in ("a", "b"):
        recording.ask("s", "task")
        lengths[agent] = ["s", "task"]
    for turn in range(3):
        for agent, history in lengths.items():
            history += [f"answer {agent}{turn}", f"result {agent}{turn}"]
            recording.ask(*history)
    sessions: dict[int, list[int]] = {}
    for call in recording.calls:
        sessions.setdefault(call.session, []).append(call.prompt_tokens)
    assert sorted(map(tuple, sessions.values())) == [(200, 300, 400, 500), (200, 300, 400, 500)]
    for call in recording.calls:
        assert call.kept_tokens == (0 if call.after is None else recording.calls[call.after].prompt_tokens)
    assert all(
        other.session == call.session for call in recording.calls if call.after is not None for other in [recording.calls[call.after]]
    )


def test_concurrent_clients_lose_nothing(recording: Recording) -> None:
    def agent(name: str) -> None:
        history = ["s", f"task {name}"]
        for turn in range(5):
            recording.ask(*history)
            history += [f"answer {name} {turn}", "result"]

    threads = [threading.Thread(target=agent, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(recording.calls) == 30
    assert sorted(call.call for call in recording.calls) == list(range(30))
    for session in range(6):
        assert [call.prompt_tokens for call in recording.calls if call.session == session] == [200, 300, 400, 500, 600]


def test_a_response_id_is_gone_on_from(recording: Recording) -> None:
    post(recording.port, "/v1/responses", {"input": "first", "stream": True})
    post(recording.port, "/v1/responses", {"input": "second", "stream": True, "previous_response_id": "resp_350"})
    post(recording.port, "/v1/responses", {"input": "third", "stream": True})
    assert [(call.session, call.after, call.kept_tokens) for call in recording.calls] == [(0, None, 0), (0, 0, 900), (1, None, 0)]


def test_without_usage_counts_are_estimated_and_marked(recording: Recording) -> None:
    recording.ask("s", "u", X_No_Usage="1")
    (call,) = recording.calls
    assert call.estimated == "output,prompt"
    assert call.output_tokens == -(-(len(SAID) + 11) * 2 // 7), "3.5 characters a token"
    prompt = sum(len(json.dumps(message, separators=(",", ":"))) for message in messages("s", "u"))
    assert call.prompt_tokens == -(-prompt * 2 // 7)


def test_usage_is_asked_for_only_when_told_to() -> None:
    endpoint = Server()
    recording = Recording(endpoint, ask_usage=True)
    with serving(endpoint), serving(recording.proxy):
        recording.ask("s", "u")
        post(recording.port, PATH, {"messages": [], "stream": True, "stream_options": {"include_usage": False}})
        post(recording.port, PATH, {"messages": []})
    bodies = [json.loads(body) for _, _, body in endpoint.requests]
    assert [body.get("stream_options") for body in bodies] == [{"include_usage": True}, {"include_usage": False}, None]


def test_an_answer_broken_off_by_the_endpoint_is_broken_off_for_the_client(recording: Recording) -> None:
    connection = HTTPConnection("127.0.0.1", recording.port, timeout=30)
    connection.request("POST", PATH, json.dumps({"messages": messages("s", "u"), "stream": True}), {"X-Cut": "1"})
    with pytest.raises(Exception, match=r"IncompleteRead|chunk"):
        connection.getresponse().read()
    connection.close()
    recording.ask("s", "u")
    assert [(call.broken, call.estimated) for call in recording.calls] == [(True, "output,prompt"), (False, "")]
    assert recording.calls[0].output_tokens == -(-len(SAID) * 2 // 7), "the text that had come"


def test_a_client_that_goes_away_leaves_the_recorder_working(recording: Recording) -> None:
    body = json.dumps({"messages": messages("s", "u"), "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", recording.port), 10) as client:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Slow: 1\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        assert recording.endpoint.half.wait(10)
        client.recv(10)
    recording.endpoint.go_on.set()
    recording.ask("s", "u2")
    assert not recording.calls[-1].broken
    assert not any("Traceback" in line for line in recording.told)


def test_requests_in_chunks_and_two_on_one_connection(recording: Recording) -> None:
    connection = HTTPConnection("127.0.0.1", recording.port, timeout=30)
    for _ in range(2):
        body = json.dumps({"messages": messages("s", "u")}).encode()
        connection.request("POST", PATH, iter([body[:30], body[30:]]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.request("GET", "/v1/models")
    assert json.loads(connection.getresponse().read()) == {"data": [{"id": "model"}]}
    connection.close()
    assert len(recording.calls) == 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + 5000 * b"9" + b"\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", b"413"),
        (b"GET http://example.com/v1/models HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /v1x/models HTTP/1.1\r\n\r\n", b"404"),
        (f"{WORDS} {KEY} nonsense\r\n\r\n".encode(), b"400"),
    ],
)
def test_hostile_requests_are_refused_and_not_repeated(recording: Recording, sent: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", recording.port), 10) as client:
        client.sendall(sent)
        client.settimeout(10)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.split(b" ")[1] == status
    assert not any(secret.encode() in answer for secret in SECRETS)
    assert recording.endpoint.requests == []
    recording.ask("s", "u")
    assert len(recording.calls) == 1


def test_an_endpoint_that_is_not_there_is_a_502_with_its_host() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told: list[str] = []
    proxy = Proxy(address_of(f"http://127.0.0.1:{port}/v1", "record", "--to"), 0, Ledger(lambda _: None), b"salt", tell=told.append)
    with serving(proxy):
        status, _, body = post(int(proxy.server_address[1]), PATH, {"messages": messages("s", "u")})
    assert status == 502
    assert "127.0.0.1 cannot be reached" in json.loads(body)["error"]["message"]
    assert not any(secret in body.decode() + "".join(told) for secret in SECRETS)


def test_nothing_of_what_was_said_is_kept_or_told(recording: Recording, tmp_path: Path) -> None:
    for headers in ({}, {"X_No_Usage": "1"}, {"X_Fail": "1"}):
        post(recording.port, PATH, {"messages": messages("s", "u"), "stream": True}, **headers)
    kept = b"".join(map(journal_line, recording.calls)) + "\n".join(recording.told).encode()
    kept += repr([vars(recording.proxy.ledger), recording.calls]).encode()
    assert len(recording.calls) == 2
    assert [secret for secret in SECRETS if secret.encode() in kept] == []


@pytest.mark.parametrize(
    "url",
    ["", "api.example.com", "ftp://x/", "http://", "https://user:pw@x/v1", "https://x/v1?key=sk-1", "https://x:99999/", "http://[::1"],
)
def test_addresses_that_are_none_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(UserError) as caught:
        address_of(url, "record", "--to")
    assert "sk-1" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_where_clients_find_it() -> None:
    proxy = Proxy(address_of("https://api.example.com/openai/v1/", "record", "--to"), 0, Ledger(lambda _: None), b"salt")
    assert proxy.server_address[0] == "127.0.0.1"
    assert proxy.base_url.endswith("/openai/v1")
    assert proxy.upstream.origin == "https://api.example.com"
    proxy.server_close()
