"""A small serving engine on loopback that counts tokens, keeps metrics, and fails where a test tells it to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = 16


class Engine(ThreadingHTTPServer):
    """The engine.

    Parameters
    ----------
    faults : dict
        By the number of a completion, from 0 on: ``429 SECONDS``, ``500``, ``stall``, ``garbage``, ``events``, ``early``, ``short``,
        ``long``, ``reset``, ``error``, ``miscount``, ``burst``, ``restart``, ``die``, ``redirect``.
    refused : sequence of str
        Fields that it answers with 400.
    usage, running_usage, cached : bool
        What it reports.
    dialect : str
        ``vllm``, ``sglang``, ``llamacpp`` or ``none``.
    info : dict, optional
        What ``/server_info`` says.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        faults: dict[int, str] | None = None,
        refused: Sequence[str] = (),
        usage: bool = True,
        running_usage: bool = True,
        cached: bool = True,
        dialect: str = "vllm",
        step_s: float = 0.002,
        models: Sequence[str] = ("tiny",),
        vocabulary: int = 32_000,
        frame: int = 0,
        ids: bool = True,
        odd_words: Sequence[str] = (),
        chat_only: bool = False,
        key: str = "",
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.faults, self.refused, self.usage, self.running_usage, self.cached = faults or {}, refused, usage, running_usage, cached
        self.dialect, self.step_s, self.models, self.vocabulary, self.frame, self.ids = dialect, step_s, models, vocabulary, frame, ids
        self.odd_words, self.chat_only, self.key, self.info = frozenset(odd_words), chat_only, key, info
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.seen: set[tuple[int, ...]] = set()
        self.lock, self.let_go = threading.Lock(), threading.Event()
        self.tokens = {"prompt": 0, "output": 0, "cached": 0}
        self.ended, self.prefill_s, self.decode_s = 0, 0.0, 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients hang up

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hits(self, prompt: Sequence[int]) -> int:
        """Tokens that a block cache would have."""
        whole = 0
        for end in range(BLOCK, len(prompt) + 1, BLOCK):
            if tuple(prompt[:end]) not in self.seen:
                break
            whole = end
        self.seen.update(tuple(prompt[:end]) for end in range(BLOCK, len(prompt) + 1, BLOCK))
        return min(whole, len(prompt) - 1)

    def metrics(self) -> str:
        """The page, in the dialect."""
        ended, tokens = self.ended, self.tokens
        if self.dialect == "llamacpp":
            return (
                f"llamacpp:prompt_tokens_total {tokens['prompt'] - tokens['cached']}\nllamacpp:prompt_seconds_total {self.prefill_s}\n"
                f"llamacpp:tokens_predicted_total {tokens['output']}\nllamacpp:tokens_predicted_seconds_total {self.decode_s}\n"
                "llamacpp:requests_processing 1\n"
            )
        if self.dialect == "sglang":
            return f"sglang:prompt_tokens_total {tokens['prompt']}\nsglang:generation_tokens_total {tokens['output']}\n"
        lines = ['vllm:cache_config_info{block_size="16",num_gpu_blocks="1024",cache_dtype="auto"} 1.0', "# HELP vllm:x y"]
        label = '{engine="0",model_name="tiny"}'
        for name, value in (("prefill", self.prefill_s), ("decode", self.decode_s)):
            lines += [f"vllm:request_{name}_time_seconds_sum{label} {value}", f"vllm:request_{name}_time_seconds_count{label} {ended}.0"]
        lines += [f"vllm:prompt_tokens_total{label} {tokens['prompt']}", f"vllm:generation_tokens_total{label} {tokens['output']}"]
        lines += [f"vllm:prefix_cache_hits_total{label} {tokens['cached']}", f"vllm:num_requests_running{label} 3.0"]
        return "\n".join(lines) + "\n"


class Answering(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Engine

    def do_GET(self) -> None:
        self._noted()
        engine = self.server
        if engine.key and self.headers.get("authorization") != f"Bearer {engine.key}":
            return self._whole(401, {"error": {"message": f"wrong key {self.headers.get('authorization')}"}})
        if self.path == "/v1/models":
            data = [{"id": name, "max_model_len": 8192, "meta": {"n_vocab": engine.vocabulary}} for name in engine.models]
            return self._whole(200, {"data": data})
        if self.path == "/metrics" and engine.dialect != "none":
            return self._whole(200, engine.metrics().encode(), "text/plain")
        if self.path == "/version" and engine.dialect == "vllm":
            return self._whole(200, {"version": "0.32.0"})
        if self.path == "/props" and engine.dialect == "llamacpp":
            return self._whole(200, {"build_info": "b6000", "total_slots": 4, "default_generation_settings": {"n_ctx": 2048}})
        if self.path == "/server_info" and engine.info is not None:
            return self._whole(200, engine.info)
        if self.path == "/health":
            return self._whole(200, {})
        return self._whole(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        self._noted()
        engine = self.server
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with engine.lock:
            number = len(engine.requests)
            engine.requests.append(request)
        fault = engine.faults.get(number, "")
        if engine.chat_only and "messages" not in request:
            return self._whole(404, {"detail": "Not Found"})
        refused = [name for name in engine.refused if name in request or name in request.get("stream_options", {})]
        if refused:
            return self._whole(400, {"error": {"message": f"unknown field {refused[0]}"}})
        if self._fails(fault):
            return None
        prompt = self._prompt(request)
        if isinstance(prompt, str):
            return self._whole(400, {"error": {"message": prompt}})
        return self._stream(request, prompt, fault)

    def _noted(self) -> None:
        self.server.keys.append(self.headers.get("authorization"))
        self.server.paths.append(self.path)

    def _fails(self, fault: str) -> bool:
        """Faults that leave no stream."""
        engine = self.server
        if fault.startswith("429"):
            self._whole(429, {"error": {"message": "slow down"}}, retry_after=fault.partition(" ")[2])
        elif fault == "500":
            self._whole(500, {"error": {"message": f"it broke for {self.headers.get('authorization')}"}})
        elif fault == "redirect":
            self.send_response_only(307)
            self.send_header("Location", "http://127.0.0.2:1/v1/completions")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault in ("reset", "die"):
            if fault == "die":
                engine.socket.shutdown(socket.SHUT_RDWR)  # at once, where close would wait for who listens
                engine.socket.close()
                threading.Thread(target=engine.shutdown, daemon=True).start()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault == "garbage":
            self.wfile.write(b"\x00\xffno http at all\r\n\r\n")
            self.close_connection = True
        else:
            return False
        return True

    def _prompt(self, request: dict[str, Any]) -> list[int] | str:
        """The prompt's tokens, or what is wrong with it. A text has a token a word, odd words two."""
        engine = self.server
        prompt = request.get("prompt", "")
        if "messages" in request:
            prompt = " ".join(message["content"] for message in request["messages"])
        if isinstance(prompt, list):
            if not engine.ids:
                return "prompt must be a string"
            if any(token >= engine.vocabulary for token in prompt):
                return "a token id is out of vocabulary"
            return [*range(engine.frame), *prompt]
        words = [hash(word) for word in prompt.split()] + [1 for word in prompt.split() if word in engine.odd_words]
        return [*range(engine.frame), *words]

    def _stream(self, request: dict[str, Any], prompt: list[int], fault: str) -> None:
        engine = self.server
        asked = request.get("max_tokens", request.get("max_completion_tokens"))
        output = {"short": asked - 3, "long": asked + 2}.get(fault, asked)
        with engine.lock:
            cached = engine.hits(prompt)
        began = time.perf_counter()
        time.sleep(engine.step_s)
        first = time.perf_counter()
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if fault == "stall":
            engine.let_go.wait(20)
            self.close_connection = True
            return
        llama = engine.dialect == "llamacpp"
        chat, held = "messages" in request, b": hello\r\n\r\n"
        running = engine.running_usage and request.get("stream_options", {}).get("continuous_usage_stats")
        if chat:
            held += self._event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for number in range(output):
            said = {"delta": {"content": f" w{number}"}} if chat else {"text": f" w{number}"}
            event: dict[str, Any] = {"choices": [{**said, "finish_reason": None if number < output - 1 or llama else "length"}]}
            if running:
                event["usage"] = {"prompt_tokens": len(prompt), "completion_tokens": number + 1}
            held += self._event(event)
            if fault == "burst" and number < output - 1:
                continue
            if fault in ("early", "error", "events") and number == output // 2:
                break
            self._chunk(held)
            held = b""
            time.sleep(engine.step_s)
        if fault == "early":
            self.close_connection = True
            return
        if fault in ("error", "events"):
            held = self._event({"error": {"message": "out of memory", "code": 500}}) if fault == "error" else b"data: {\xff]\r\n\r\n"
        elif engine.usage and request.get("stream_options", {}).get("include_usage"):
            usage: dict[str, Any] = {"prompt_tokens": len(prompt) + 7 * (fault == "miscount"), "completion_tokens": output}
            if engine.cached:
                usage["prompt_tokens_details"] = {"cached_tokens": cached}
            held = self._event({"choices": [], "usage": usage})
        if llama:  # the last event says why, how many and how long, all at once
            timings = {"prompt_n": len(prompt) - cached, "cache_n": cached, "predicted_n": output, "prompt_ms": 12.5, "predicted_ms": 80.0}
            event = {"choices": [{"text": "", "finish_reason": "length"}], "timings": timings}
            if engine.usage and fault not in ("error", "events"):
                event["usage"] = {"prompt_tokens": len(prompt), "completion_tokens": output}
            held += self._event(event)
        with engine.lock:
            engine.prefill_s, engine.decode_s = engine.prefill_s + first - began, engine.decode_s + time.perf_counter() - first
            engine.ended += 1
            for name, count in (("prompt", len(prompt)), ("output", output), ("cached", cached)):
                engine.tokens[name] += count
            if fault == "restart":
                engine.ended, engine.tokens = 0, dict.fromkeys(engine.tokens, 0)
        self._chunk(held + b"data: [DONE]\r\n\r\n")
        self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def _event(value: dict[str, Any]) -> bytes:
        return f"data: {json.dumps(value)}\r\n\r\n".encode()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _whole(self, status: int, content: object, kind: str = "application/json", retry_after: str = "") -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response_only(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(data))),
            *([("Retry-After", retry_after)] if retry_after else []),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass
