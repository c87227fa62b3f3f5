"""A small OpenAI-compatible endpoint on loopback for the tests of the recorder, and the secrets that must not be found anywhere after."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY, WORDS, SAID = "sk-secret-key-7f3a", "the-secret-plan-of-ada", "the-secret-answer-of-bob"
SECRETS = (KEY, WORDS, SAID)


def tokens_of(request: dict[str, Any]) -> int:
    """A made-up count: 100 for the frame, and 50 a message."""
    return 100 + 50 * len(request.get("messages") or request.get("input") or [])


def chat_stream(request: dict[str, Any], usage: bool = True, eol: str = "\r\n") -> list[bytes]:
    """Chunks of a streamed answer, cut where no event ends; the usage comes last."""
    events = [
        {"choices": [{"delta": {"role": "assistant"}}]},
        {"choices": [{"delta": {"content": SAID}}]},
        {"choices": [{"delta": {"content": "é" * 11}}]},
    ]
    if usage:
        counted = {"prompt_tokens": tokens_of(request), "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
        events.append({"choices": [], "usage": counted})
    text = f": hello{eol}{eol}" + "".join(f"data: {json.dumps(event, ensure_ascii=False)}{eol}{eol}" for event in events)
    data = (text + f"data: [DONE]{eol}{eol}").encode()
    return [data[start : start + 37] for start in range(0, len(data), 37)]


def responses_stream(request: dict[str, Any]) -> list[bytes]:
    done = {
        "id": f"resp_{tokens_of(request)}",
        "usage": {"input_tokens": 900, "output_tokens": 30, "input_tokens_details": {"cached_tokens": 512}},
    }
    events = [("response.output_text.delta", {"delta": SAID}), ("response.completed", {"response": done})]
    return [f"event: {name}\ndata: {json.dumps({'type': name, **event})}\n\n".encode() for name, event in events]


class Endpoint(BaseHTTPRequestHandler):
    """Answers by the path: a stream, an error, a packed body. ``/slow`` waits in mid-stream until the test lets it go on."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = json.loads(body or b"{}")
        self.server.requests.append((self.path, dict(self.headers.items()), body))
        if self.headers.get("x-fail"):
            return self.whole(429, {"error": {"message": f"slow down, {SAID}"}})
        if self.headers.get("x-gzip"):
            packed = gzip.compress(json.dumps(self.answer(request)).encode(), mtime=0)
            return self.whole(200, packed, ("Content-Encoding", "gzip"))
        if not request.get("stream"):
            return self.whole(200, self.answer(request))
        if self.path.endswith("/responses"):
            return self.chunks(responses_stream(request))
        return self.chunks(
            chat_stream(request, usage="x-no-usage" not in self.headers), wait="x-slow" in self.headers, cut="x-cut" in self.headers
        )

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers.items()), b""))
        self.whole(200, {"data": [{"id": "model"}]})

    @staticmethod
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": tokens_of(request), "completion_tokens": 7}
        return {"id": "x", "choices": [{"message": {"role": "assistant", "content": SAID}}], "usage": usage}

    def whole(self, status: int, content: object, *headers: tuple[str, str]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response_only(status)
        for name, value in (*headers, ("Content-Type", "application/json"), ("X-Request-Id", "abc"), ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def chunks(self, parts: list[bytes], wait: bool = False, cut: bool = False) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, part in enumerate(parts):
            if number == len(parts) // 2:
                self.server.half.set()
                if wait:
                    self.server.go_on.wait(30)
                if cut:
                    self.close_connection = True
                    return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.half, self.go_on = threading.Event(), threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the recorder hangs up where a test wants it to

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serves in a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def messages(*texts: str) -> list[dict[str, str]]:
    """A conversation: system prompt, task, then answer and tool result in turns."""
    roles = ["system", "user"] + ["assistant", "tool"] * len(texts)
    return [{"role": role, "content": f"{WORDS} {text}"} for role, text in zip(roles, texts, strict=False)]


def post(port: int, path: str, request: dict[str, Any], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they came."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = {
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        connection.request("POST", path, json.dumps(request).encode(), sent)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()
