"""The guarded protocol in front of a small application, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from edgellm.serve.connections import ConnectionLimits
from live_server import eventually

QUICK = ConnectionLimits(max_connections=4, patience_s=0.3, max_body_bytes=100_000)
PATIENT = ConnectionLimits(max_connections=4, max_body_bytes=100_000)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes that came; `/slow` takes longer than a client may; `/early` does not read."""
    assert scope["type"] == "http"
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    length, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message["more_body"]
    body = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Served:
    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self._server, self._port = server, port

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=20)

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)


@contextmanager
def serving(limits: ConnectionLimits) -> Iterator[Served]:
    config = uvicorn.Config(
        echo_length, http=limits.protocol(), lifespan="off", log_config=None, log_level="critical",
        timeout_keep_alive=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            eventually(lambda: server.started)
            yield Served(server, sock.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def quick() -> Iterator[Served]:
    with serving(QUICK) as served:
        yield served


@pytest.fixture(scope="module")
def patient() -> Iterator[Served]:
    with serving(PATIENT) as served:
        yield served


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    data = b""
    try:
        while part := client.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def code_of(answer: bytes) -> tuple[bytes, str | None]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split()[1], json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "half",
    [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123",
     b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123"],
)  # fmt: skip
def test_half_a_request_is_answered_with_408_when_the_patience_ends(quick: Served, half: bytes) -> None:
    with quick.open() as client:
        client.sendall(half)
        assert code_of(rest(client)) == (b"408", "request_timeout")


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET, GET + b"\r\n"])
def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(quick: Served, sent: bytes) -> None:
    with quick.open() as client:
        client.sendall(sent)
        assert rest(client).count(b"HTTP/1.1") == sent.count(b"HTTP/1.1")
    eventually(lambda: quick.connections == 0)


def test_a_body_that_nobody_reads_holds_no_connection(quick: Served) -> None:
    with quick.open() as client:
        client.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n12")
        assert rest(client).startswith(b"HTTP/1.1 200")


def test_a_slow_answer_is_no_late_request(quick: Served) -> None:
    with quick.open() as client:
        client.sendall(GET.replace(b"/ ", b"/slow "))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_requests_that_were_sent_ahead_are_answered_in_turn(patient: Served) -> None:
    with patient.open() as client:
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        client.sendall(post + GET + post + GET.replace(b"Host", b"Connection: close\r\nHost"))
        bodies = [part.partition(b"\r\n\r\n")[2] for part in rest(client).split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"3", b"0", b"3", b"0"]


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 10_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000])
def test_a_head_without_end_is_refused(patient: Served, line: bytes) -> None:
    with patient.open() as client:
        answer = b""
        try:
            while not answer:
                client.sendall(line)
                line = b"a" * 10_000
                client.settimeout(0.01)
                try:
                    answer = client.recv(65536)
                except TimeoutError:
                    client.settimeout(20)
        except OSError:  # it was closed before all was sent
            pass
    assert answer == b"" or code_of(answer)[0] in (b"431", b"400")
    eventually(lambda: patient.connections == 0)


def test_a_body_without_end_ends_the_connection(patient: Served) -> None:
    with patient.open() as client:
        client.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|pipe|aborted"):
            for _ in range(1000):
                client.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"a" * 99]
)
def test_what_is_no_http_is_refused_in_openais_shape(patient: Served, garbage: bytes) -> None:
    with patient.open() as client:
        client.sendall(garbage)
        assert code_of(rest(client)) == (b"400", "invalid_http")


def test_one_connection_too_many_is_told_to_come_back_and_the_others_stay(patient: Served) -> None:
    eventually(lambda: patient.connections == 0)
    held = [patient.open() for _ in range(PATIENT.max_connections)]
    try:
        eventually(lambda: patient.connections == len(held))
        with patient.open() as client:
            client.sendall(GET)
            answer = rest(client)
        assert code_of(answer) == (b"503", "too_many_connections")
        assert b"retry-after" in answer
        held[0].sendall(GET)
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for client in held:
            client.close()
