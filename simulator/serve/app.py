"""The endpoint: which path gives what. Inputs are requests, and the service that a scenario makes."""

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial

from simulator.serve.answer import Answer
from simulator.serve.asked import Served, read_asked
from simulator.serve.http import Handler, HungUp, Reply, Request, converse
from simulator.serve.refused import Refused
from simulator.serve.service import Service

JSON, TEXT, EVENTS = "application/json", "text/plain; version=0.0.4; charset=utf-8", "text/event-stream; charset=utf-8"


class App:
    """Answers requests.

    Parameters
    ----------
    service : Service
    served : Served
    version : str
    """

    def __init__(self, service: Service, served: Served, version: str) -> None:
        self.service, self.served, self.version = service, served, version
        self.began = int(time.time())
        self.routes: dict[str, tuple[str, Handler]] = {
            "/v1/completions": ("POST", partial(self.complete, chat=False)),
            "/v1/chat/completions": ("POST", partial(self.complete, chat=True)),
            "/v1/models": ("GET", self.models),
            f"/v1/models/{served.model}": ("GET", self.model),
            "/health": ("GET", self.health),
            "/metrics": ("GET", self.metrics),
            "/version": ("GET", self.tell_version),
        }

    async def answer(self, request: Request, reply: Reply) -> None:
        """Answers one request, by an error where it must."""
        try:
            if request.path not in self.routes:
                raise Refused(404, f"There is nothing at {request.path}; there is {', '.join(self.routes)}.")
            method, handler = self.routes[request.path]
            if request.method != method and (request.method, method) != ("HEAD", "GET"):
                raise Refused(405, f"{request.path} takes {method}.")
            await handler(request, reply)
        except Refused as refused:
            reply.whole(refused.status, refused.body)
        except (HungUp, OSError):
            raise
        except Exception as error:
            self.service.tell(f"{request.path}: {type(error).__name__}: {error}")
            if reply.begun:
                raise HungUp from error
            reply.whole(500, Refused(500, "A fault of this server; its stderr tells more.").body)

    async def complete(self, request: Request, reply: Reply, *, chat: bool) -> None:
        """A completion, streamed or whole; a client that hangs up takes its call with it."""
        asked = read_asked(request.body, request.headers, self.served, chat=chat)
        ticket = self.service.ask(asked)
        answer = Answer(asked, ticket.call.lane, self.served.model)
        try:
            if asked.stream:
                reply.begin(EVENTS)
            async for steps in ticket.read():
                if asked.stream:
                    reply.piece(b"".join(answer.chunk(tokens, ticket.call.cached) for tokens in steps))
            if asked.stream:
                reply.end()
            else:
                reply.whole(200, answer.whole(ticket.call.cached))
        finally:
            self.service.give_up(ticket)

    async def models(self, request: Request, reply: Reply) -> None:
        reply.whole(200, json.dumps({"object": "list", "data": [self._card()]}).encode())

    async def model(self, request: Request, reply: Reply) -> None:
        reply.whole(200, json.dumps(self._card()).encode())

    def _card(self) -> dict[str, object]:
        about = {"id": self.served.model, "object": "model", "created": self.began, "owned_by": "agentwatt"}
        return {**about, "root": self.served.model, "parent": None, "max_model_len": self.served.limit_tokens}

    async def health(self, request: Request, reply: Reply) -> None:
        reply.whole(200, b"")

    async def metrics(self, request: Request, reply: Reply) -> None:
        reply.whole(200, self.service.metrics.text(self.service.now_ps, self.service.own_metrics()).encode(), TEXT)

    async def tell_version(self, request: Request, reply: Reply) -> None:
        reply.whole(200, json.dumps({"version": f"agentwatt {self.version}"}).encode())


async def listen(app: App, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serves until cancelled, then hangs up on everybody; ``ready`` takes the port.

    Raises
    ------
    OSError
        When the port cannot be had.
    """
    open_now: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            await converse(app.answer, reader, writer)
        finally:
            open_now.discard(task)

    server = await asyncio.start_server(connected, host, port, backlog=1024)
    try:
        broken = app.service.start()
        ready(server.sockets[0].getsockname()[1])
        await broken
    finally:
        server.close()
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
