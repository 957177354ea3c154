"""Running the application on a socket: it answers /health from the start, says when it is ready, drains, and ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from edgellm.errors import UsageError
from edgellm.serve.connections import ConnectionLimits
from edgellm.serve.heap import keep_small
from edgellm.serve.service import Service

SEND_BUFFER_BYTES = 128 * 1024
PATIENCE_S = 0.5  # for the step that runs when the server ends


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket with its address; port 0 takes a free one. Raises UsageError if the address cannot be had.

    It does not listen yet: what is wrong with a model is told before anybody is let in.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. The kernel would let a client that does not read fall megabytes behind unnoticed.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        raise UsageError(f"{host}:{port} cannot be had ({reason}); choose another --host or --port") from None
    return sock


def address(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which the socket will answer."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn that loads the first model once it listens, calls `on_ready` then, and drains before it ends.

    SIGTERM: no more requests are taken, and it ends when those under way have, or after `drain_s` seconds. SIGINT, and
    a second signal: it ends now.
    """

    def __init__(
        self, app: ASGIApp, service: Service, on_ready: Callable[[], None], *, drain_s: float = 30.0,
        certificate: tuple[Path, Path] | None = None, connections: ConnectionLimits | None = None,
    ) -> None:  # fmt: skip
        """`certificate`: the files of the certificate chain and of its key, for TLS."""
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off",
            loop="uvloop", http=(connections or ConnectionLimits()).protocol(), ws="none", log_level="error",
            ssl_certfile=certificate and certificate[0], ssl_keyfile=certificate and certificate[1],
        )  # fmt: skip
        config.timeout_graceful_shutdown = 1
        super().__init__(config)
        self.failure: BaseException | None = None  # of the first model's loading
        self._service = service
        self._on_ready = on_ready
        self._drain_s = drain_s
        self._drained_by: float | None = None  # on the monotonic clock, once it drains
        self._ready = False
        self._loading: asyncio.Task[None] | None = None
        self.early_signal: int | None = None  # that came before it was ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            await self._service.load_first()
        except BaseException as error:
            self.failure = error
            self.should_exit = True
            return
        self._ready = True
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn calls it for SIGINT and SIGTERM."""
        if not self._ready:
            self.early_signal = sig
            self.should_exit = True
        elif sig == signal.SIGTERM and self._drained_by is None:
            self._service.draining = True
            self._drained_by = time.monotonic() + self._drain_s
        else:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self._drained_by is not None:
            self.should_exit |= not self.server_state.tasks or time.monotonic() > self._drained_by
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First the answers, so that their connections can end; uvicorn would wait for them.
        await self._service.close(PATIENCE_S)
        await super().shutdown(sockets)


def run_until_stopped(server: Server, sock: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; raises what loading the first model raised.

    A signal that came before the server was ready is raised again, for the handler that stands outside.
    """
    keep_small()
    server.run(sockets=[sock])
    if server.early_signal is not None:
        signal.raise_signal(server.early_signal)
    if server.failure is not None:
        raise server.failure
