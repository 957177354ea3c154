"""What uvicorn leaves open: how long a client may take to send a request, how long a head may be, and how many
connections there may be at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edgellm.serve.limits import MAX_BODY_BYTES
from edgellm.serve.problems import INVALID, Problem

LOOK_S = 0.25


@dataclass(frozen=True)
class ConnectionLimits:
    max_connections: int = 512
    max_head_bytes: int = 64 * 1024  # of the request line and its headers
    # A request must have come within `patience_s` and a second for each `slowest_bytes_per_s` of it. (As Apache's
    # mod_reqtimeout counts: a limit for the whole alone would either refuse large bodies or let small ones drip.)
    patience_s: float = 15.0
    slowest_bytes_per_s: int = 8 * 1024
    max_body_bytes: int = MAX_BODY_BYTES

    @property
    def max_request_bytes(self) -> int:
        """Far more than an allowed body in chunks takes, so that who sends that much gets its answer before."""
        return self.max_head_bytes + 2 * self.max_body_bytes + (1 << 20)

    def protocol(self) -> type[HttpToolsProtocol]:
        """The class for uvicorn's `http`."""
        return type("Guarded", (GuardedProtocol,), {"limits": self})


class GuardedProtocol(HttpToolsProtocol):
    """One connection. What it refuses it answers in OpenAI's shape if no answer has begun, and closes."""

    limits = ConnectionLimits()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._awaited: Literal["head", "body"] | None = "head"  # what the client still has to send
        self._begun = False  # whether any of its next request has come
        self._received = 0  # bytes of that
        self._since = 0.0  # when it began, on the loop's clock
        self._timer: asyncio.TimerHandle | None = None
        self._turned_away = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._turned_away = len(self.connections) > self.limits.max_connections
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._turned_away:
            self._refuse(503, "too many connections are open; try again later", "too_many_connections")
            return
        if self._awaited is None:
            self._await_head()
        before = self._awaited
        self._received += len(data)
        super().data_received(data)
        if before == self._awaited == "head" and self._received > self.limits.max_head_bytes:
            self._refuse(431, f"the head of the request is larger than {self.limits.max_head_bytes} bytes", None)
        elif self._received > self.limits.max_request_bytes:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()
        self._begun = True

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._awaited = "body"

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._awaited = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is no HTTP request that the server understands", "invalid_http")

    def _await_head(self) -> None:
        self._awaited = "head"
        self._begun = False
        self._received = 0
        self._since = self.loop.time()
        if self._timer is None:
            self._look_later()

    @property
    def _due(self) -> float:
        return self._since + self.limits.patience_s + self._received / self.limits.slowest_bytes_per_s

    def _look_later(self) -> None:
        self._timer = self.loop.call_at(max(self._due, self.loop.time() + LOOK_S), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._awaited is None or self.transport.is_closing():
            return
        # Where it is the server that does not read, nobody is late.
        answering = self._awaited == "head" and self.cycle is not None and not self.cycle.response_complete
        if self.loop.time() < self._due or answering or self.flow.read_paused:
            self._look_later()
        elif self._begun:
            self._refuse(408, "the request did not arrive in time; send it faster", "request_timeout")
        else:
            self.transport.close()  # nothing was asked for, so nothing is answered

    def _refuse(self, status: int, message: str, code: str | None) -> None:
        if self._may_answer:
            kind = "server_error" if status >= 500 else INVALID
            body = bytes(Problem(status, message, kind=kind, code=code).response().body)
            lines = [STATUS_LINE[status], b"content-type: application/json\r\nconnection: close\r\n"]
            if status == 503:
                lines.append(b"retry-after: 5\r\n")
            self.transport.write(b"".join([*lines, b"content-length: %d\r\n\r\n" % len(body), body]))
        self.transport.close()

    @property
    def _may_answer(self) -> bool:
        """Whether nothing is being answered on this connection."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        return self._awaited == "body" and not self.cycle.response_started and not self.pipeline
