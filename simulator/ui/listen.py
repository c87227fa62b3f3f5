"""The page's socket: bound to loopback, open until Ctrl-C. Input: the finished application."""

import os
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from simulator.errors import Mistake, UserError

LOOPBACK = "127.0.0.1"


def listen(app: ASGIApp, port: int, ready: Callable[[str], None]) -> None:
    """Serves until interrupted; ``ready`` is told the address once connections are accepted by the kernel.

    Raises
    ------
    UserError
        When the port is taken.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((LOOPBACK, port))
        except OSError as error:
            raise UserError(Mistake("ui", "--port", str(port), "a free port; 0 takes one", os.strerror(error.errno or 0))) from error
        bound.listen()
        ready(f"http://{LOOPBACK}:{bound.getsockname()[1]}/")
        config = uvicorn.Config(app, log_level="warning", server_header=False, access_log=False, timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[bound])
