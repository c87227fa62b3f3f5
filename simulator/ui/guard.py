"""What every request must pass and every response carries: this machine's own name, no other site's request, a strict policy.

A page of another site may resolve its own name to loopback (DNS rebinding) or ask this page's address in the background; both are refused.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
HEADERS = {
    # Figures carry style attributes; there is no script, and nothing is loaded from anywhere.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def refusal(headers: Headers) -> str:
    """Why a request is refused; empty when it is not."""
    name = headers.get("host", "").rsplit(":", 1)[0] if ":" in headers.get("host", "") else headers.get("host", "")
    if name.lower() not in HOSTS:
        return "This page answers to 127.0.0.1 and localhost only."
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return "This page answers to nobody but itself: open its address in a tab of its own."
    return ""


class Guard:
    """The application behind both checks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        why = refusal(Headers(scope=scope))
        await (PlainTextResponse(why + "\n", 403) if why else self.app)(scope, receive, with_headers)
