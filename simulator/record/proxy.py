"""A reverse proxy on loopback in front of one endpoint: bytes pass as they come, and each call ends in the ledger. Inputs: HTTP requests.

The only host it connects to is the one it was given. TLS is verified, no redirect is followed, no proxy, cookie or password of the
environment is used. Of a request only the address changes, the codings it accepts (those that cannot be read are left out), and, if asked
for, ``stream_options``. Nothing of a request or response is logged or told in an error.

A call is entered in the ledger before the end of its answer is passed on: what a client saw end is in the journal.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from simulator.record.answer import READABLE, Answer
from simulator.record.ledger import Ledger
from simulator.record.prompt import CHAT, COMPLETIONS, Asked, kind_of, read_request
from simulator.units import whole_number
from simulator.wire.address import Address
from simulator.wire.tls import trusting

LOOPBACK = "127.0.0.1"
MOST_REQUEST_BYTES = 256 << 20
CONNECT_S = 30.0
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
"""Headers that concern one connection and are not passed on (RFC 9110, 7.6.1)."""


class Proxy(ThreadingHTTPServer):
    """The server; a thread for each connection.

    Parameters
    ----------
    upstream : Address
        The endpoint behind; local requests repeat its path.
    port : int
        On loopback; 0 takes a free one.
    ledger : Ledger
    salt : bytes
    ask_usage : bool
        Ask for token counts in streams where the client did not: one more event in the stream.
    tell : callable
        Takes lines for the person who records: numbers and kinds of errors, never content.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        upstream: Address,
        port: int,
        ledger: Ledger,
        salt: bytes,
        ask_usage: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.upstream, self.ledger, self.salt, self.ask_usage, self.tell = upstream, ledger, salt, ask_usage, tell
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30.0)
        self.transport = httpx.HTTPTransport(verify=trusting(), trust_env=False, limits=limits)
        self.readers = ThreadPoolExecutor(1)
        self.began = time.monotonic()
        self.open_calls: set[int] = set()
        super().__init__((LOOPBACK, port), Relay)

    @property
    def base_url(self) -> str:
        """What clients take for the endpoint."""
        return f"http://{LOOPBACK}:{self.server_address[1]}{self.upstream.path}"

    def clock_s(self) -> float:
        """Seconds from the start of the recording."""
        return time.monotonic() - self.began

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What went wrong by its kind only: a traceback might show content."""
        import sys

        kind = sys.exc_info()[0]
        if kind is not None and not issubclass(kind, ConnectionError):
            self.tell(f"a connection ended by {kind.__name__}")

    def server_close(self) -> None:
        super().server_close()
        self.transport.close()
        self.readers.shutdown(wait=False, cancel_futures=True)


class _Refused(Exception):  # noqa: N818
    """A request that is not passed on: status and why."""


class Relay(BaseHTTPRequestHandler):
    """One connection of a client."""

    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self) -> None:
        """Passes one request on and its response back."""
        try:
            body = self._body()
        except _Refused as refused:
            self._refuse(*refused.args)
            return
        if body is None:
            return
        start_s = self.server.clock_s()
        path = self.path.split("?", 1)[0]
        base = self.server.upstream.path
        if not self.path.startswith("/") or not (path == base or path.startswith(base + "/")):
            self._refuse(404, f"only paths below {base or '/'} are passed on")
            return
        kind = kind_of(path) if self.command == "POST" else None
        # Read while the endpoint works, so that the request is not kept waiting.
        asked = self.server.readers.submit(read_request, kind, body, self.server.salt) if kind else None
        if kind in (CHAT, COMPLETIONS) and self.server.ask_usage:
            body = _asking_usage(body)
        try:
            request = self._request(body)
            response = self.server.transport.handle_request(request)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, UnicodeError) as error:
            reason = str(error) if isinstance(error, httpx.ConnectError) else type(error).__name__
            self._refuse(502, f"{self.server.upstream.host} cannot be reached: {reason}")
            return
        self.server.open_calls.add(id(self))
        try:
            self._pass(response, asked, start_s)
        finally:
            self.server.open_calls.discard(id(self))
            response.close()

    def _request(self, body: bytes) -> httpx.Request:
        """The request as the endpoint gets it."""
        named = {name.strip().lower() for name in self.headers.get("connection", "").encode("latin-1").split(b",")}
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        dropped = HOP_BY_HOP | named | {b"host", b"content-length", b"expect"}
        passed = [(name, _readable(value) if name.lower() == b"accept-encoding" else value) for name, value in headers]
        passed = [(name, value) for name, value in passed if name.lower() not in dropped]
        url = httpx.URL(self.server.upstream.origin).copy_with(raw_path=self.path.encode("latin-1"))
        timeout = {"connect": CONNECT_S, "read": None, "write": None, "pool": None}
        content = body if body or self.command not in ("GET", "HEAD") else None
        return httpx.Request(self.command, url, headers=passed, content=content, extensions={"timeout": timeout})

    def _pass(self, response: httpx.Response, asked: "Future[Asked | None] | None", start_s: float) -> None:
        """Passes a response back, and enters the call when its last byte is here."""
        answer = self._answer(response) if asked is not None else None
        length = response.headers.get("content-length")
        framed = self._head(response, length)
        passed, broken = 0, True
        end_s = start_s
        try:
            for content in self._content(response):
                end_s = self.server.clock_s()
                passed += len(content)
                if answer is not None:
                    answer.feed(content)
                if length is not None and passed == int(length):
                    broken = False
                    self._enter(asked, answer, start_s, end_s, broken=False)
                    answer = None
                self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content) if framed else content)
            broken = length is not None and passed < int(length) and not self._bodiless(response)
        except (httpx.HTTPError, OSError):
            pass  # the endpoint or the client went away: no proper end is passed on
        finally:
            self._enter(asked, answer, start_s, end_s, broken)
        if broken:
            self.close_connection = True
        elif framed:
            self.wfile.write(b"0\r\n\r\n")

    def _content(self, response: httpx.Response) -> Iterator[bytes]:
        if self._bodiless(response):
            return iter(())
        return (content for content in response.iter_raw() if content)

    def _bodiless(self, response: httpx.Response) -> bool:
        """Whether a response has no body, whatever its headers say."""
        return self.command == "HEAD" or response.status_code in (204, 304)

    def _answer(self, response: httpx.Response) -> Answer | None:
        """What reads a response beside the stream; nothing reads one that reports an error."""
        if not response.is_success:
            return None
        return Answer(response.headers.get("content-type", ""), response.headers.get("content-encoding", ""), self.server.salt)

    def _head(self, response: httpx.Response, length: str | None) -> bool:
        """Status and headers; returns whether the body goes in chunks, as a body of unknown length to a client that knows them does."""
        reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
        self.send_response_only(response.status_code, reason)
        for name, value in response.headers.raw:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name.decode("latin-1"), value.decode("latin-1"))
        bodiless = self._bodiless(response)
        framed = length is None and not bodiless and self.request_version >= "HTTP/1.1"
        if framed:
            self.send_header("Transfer-Encoding", "chunked")
        elif length is None and not bodiless:
            self.send_header("Connection", "close")  # its end is the connection's
        self.end_headers()
        return framed

    def _enter(self, asked: "Future[Asked | None] | None", answer: Answer | None, start_s: float, end_s: float, broken: bool) -> None:
        """Enters a call in the ledger, once."""
        found = asked.result() if asked is not None and answer is not None else None
        if found is None or answer is None:
            return
        answer.end()
        call = self.server.ledger.close(found, answer, start_s, end_s, broken)
        if call is None:
            self.server.tell("a call without usage and without text is left out")
            return
        self.server.open_calls.discard(id(self))
        took = f"{call.end_s - call.start_s:.1f} s"
        about = f", estimated: {call.estimated}" if call.estimated else ""
        self.server.tell(
            f"call {call.call} of session {call.session}: {call.prompt_tokens:,} prompt tokens ({call.kept_tokens:,} kept), "
            f"{call.output_tokens:,} answered, {took}{about}{', broken off' if broken else ''}"
        )

    def _body(self) -> bytes | None:
        """The request's body; None when the client went away."""
        lengths, coding = self.headers.get_all("content-length", []), self.headers.get("transfer-encoding")
        if coding is not None:
            if lengths or coding.strip().lower() != "chunked":
                raise _Refused(400, "a body has a length or comes in chunks")
            return self._chunks()
        if not lengths:
            return b""
        length = whole_number(lengths[0].strip())
        if len(set(lengths)) > 1 or length is None:
            raise _Refused(400, "no length of a body")
        if length > MOST_REQUEST_BYTES:
            raise _Refused(413, f"a body of more than {MOST_REQUEST_BYTES:,} bytes")
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return body

    def _chunks(self) -> bytes:
        """A body that comes in chunks."""
        body = bytearray()
        while True:
            size = self.rfile.readline(1024).split(b";", 1)[0].strip()
            try:
                count = int(size, 16)
            except ValueError:
                raise _Refused(400, "no length of a chunk") from None
            if count < 0 or len(body) + count > MOST_REQUEST_BYTES:
                raise _Refused(413, f"a body of more than {MOST_REQUEST_BYTES:,} bytes")
            if count == 0:
                while self.rfile.readline(65536).strip():
                    pass
                return bytes(body)
            body += self.rfile.read(count)
            self.rfile.readline(1024)

    def _refuse(self, status: int, text: str) -> None:
        """An error of the recorder's own, in the shape of the endpoint's."""
        content = json.dumps({"error": {"message": f"agentwatt record: {text}", "type": "agentwatt_record", "code": status}}).encode()
        self.close_connection = True
        self.send_response_only(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(content))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.server.tell(f"refused with {status}: {text}")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that is no HTTP; the message of the base class would repeat it."""
        self.command = getattr(self, "command", None) or "GET"
        self.request_version = "HTTP/1.1"
        self._refuse(int(code), "no request that can be passed on")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = relay  # noqa: N815


def _readable(codings: bytes) -> bytes:
    """The content codings that can be read, of those a client accepts; ``identity`` when there is none."""
    offered = [coding.strip() for coding in codings.split(b",")]
    kept = [coding for coding in offered if coding.split(b";", 1)[0].strip().lower().decode("latin-1") in READABLE]
    return b", ".join(kept) or b"identity"


def _asking_usage(body: bytes) -> bytes:
    """A streamed request that asks for token counts; the body itself when it is none, or says itself."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(request, dict) or not request.get("stream") or request.get("stream_options"):
        return body
    return json.dumps({**request, "stream_options": {"include_usage": True}}).encode()
