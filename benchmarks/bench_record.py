"""What the recorder adds to a call: time to the first byte and to the end of a streamed answer, through it and without it.

An endpoint in a process of its own answers at once with a stream of 200 small events, one write each; the recorder is `agentwatt record` in
another. Calls go in turns, straight and through the recorder, over connections that stay open, with a short prompt and with one of 400 KB
that grows by a message each time, as an agent's does. Run it as ``python benchmarks/bench_record.py``; it prints one table on stdout.
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

EVENTS = 200
EVENT = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":200}}\n\ndata: [DONE]\n\n'


class Endpoint(BaseHTTPRequestHandler):
    """Streams the same answer to every request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (*[EVENT] * EVENTS, LAST):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def serve(told: Connection) -> None:
    """Serves on a free port, which it tells."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    told.send(server.server_address[1])
    server.serve_forever()


def call(connection: HTTPConnection, body: bytes) -> tuple[float, float]:
    """Milliseconds to the first byte of the answer and to its end."""
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body)
    response = connection.getresponse()
    response.read(1)
    first = time.perf_counter()
    response.read()
    return (first - began) * 1e3, (time.perf_counter() - began) * 1e3


def measure(ports: tuple[int, int], calls: int, characters: int) -> list[list[tuple[float, float]]]:
    """Times straight and through the recorder, call by call in turns."""
    connections = [HTTPConnection("127.0.0.1", port) for port in ports]
    history = [{"role": "system", "content": "s" * 1000}, {"role": "user", "content": "u" * characters}]
    found: list[list[tuple[float, float]]] = [[], []]
    for number in range(calls + 5):
        history += [{"role": "assistant", "content": f"a{number}"}, {"role": "tool", "content": "r" * 500}]
        body = json.dumps({"messages": history, "stream": True}).encode()
        for place, connection in enumerate(connections):
            took = call(connection, body)
            if number >= 5:
                found[place].append(took)
    return found


def main() -> None:
    """Starts both, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    calls = parser.parse_args().calls
    here, there = multiprocessing.Pipe()
    endpoint = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    endpoint.start()
    port = here.recv()
    with tempfile.TemporaryDirectory() as folder:
        words = ["record", "--to", f"http://127.0.0.1:{port}/v1", "--out", str(Path(folder) / "x.jsonl"), "--port", "0"]
        command = [sys.executable, "-m", "simulator.cli.main", *words]
        recorder = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ)
        assert recorder.stderr is not None
        line = next(line for line in recorder.stderr if "OPENAI_BASE_URL" in line)
        ports = (port, int(line.rsplit(":", 1)[1].split("/")[0]))
        print(f"{'prompt':>8} {'':>10} {'first byte, ms':>22} {'end, ms':>22}")
        for name, characters in (("2 KB", 1_000), ("400 KB", 400_000)):
            for way, times in zip(("straight", "recorded"), measure(ports, calls, characters), strict=True):
                cells = [
                    f"p50 {statistics.median(each):6.2f} p95 {sorted(each)[int(0.95 * len(each))]:6.2f}"
                    for each in zip(*times, strict=True)
                ]
                print(f"{name:>8} {way:>10} {cells[0]:>22} {cells[1]:>22}")
        recorder.send_signal(signal.SIGINT)
        recorder.stderr.close()
        used = os.wait4(recorder.pid, 0)[2]
        both = 2 * (calls + 5)
        print(f"the recorder used {(used.ru_utime + used.ru_stime) / both * 1e3:.1f} ms of CPU a call, start and end included")
    endpoint.terminate()


if __name__ == "__main__":
    main()
