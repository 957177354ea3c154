"""Running the application on a socket: a ready call once it listens, and an end within a second."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from edgellm.errors import UsageError
from edgellm.inference.scheduler import Scheduler

PATIENCE_S = 0.5  # for the step that runs when the server is told to stop


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket with its address; port 0 takes a free one. Raises UsageError if the address cannot be had.

    It does not listen yet, so that clients are refused, not kept waiting, while a model loads.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        raise UsageError(f"{host}:{port} cannot be had ({reason}); choose another --host or --port") from None
    return sock


def address(sock: socket.socket) -> str:
    """The URL under which the socket will answer."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn that calls `on_ready` once requests are taken, and ends running answers when told to stop."""

    def __init__(self, app: ASGIApp, scheduler: Scheduler, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off")
        config.timeout_graceful_shutdown = 1
        super().__init__(config)
        self.on_stuck: Callable[[], None] | None = None
        self._scheduler = scheduler
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First the answers, so that their connections can end; uvicorn would wait for them.
        stopped = await run_in_threadpool(self._scheduler.close, PATIENCE_S)
        if not stopped and self.on_stuck is not None:
            self.on_stuck()
        await super().shutdown(sockets)


def run_until_stopped(server: Server, sock: socket.socket, last_words: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then call `last_words` and return.

    An engine in the middle of a long step cannot be interrupted: then the process ends right there, because
    freeing a model that computes would crash.
    """

    def end_here() -> None:
        last_words()
        sys.stderr.flush()
        os._exit(0)

    server.on_stuck = end_here
    if threading.current_thread() is threading.main_thread():
        # uvicorn puts its own handlers over these and raises the signal once more when it is done.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
    server.run(sockets=[sock])
    last_words()
