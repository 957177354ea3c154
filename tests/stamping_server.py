"""A chat server that says nothing but when: each chunk holds the time at which it was sent, on this machine's clock.

    python tests/stamping_server.py [--chunks 8] [--first-ms 20] [--gap-ms 5] [--faults cut,reject,…] [--port 0]

It prints its port. `GET /log` gives, for each request, when it arrived, when each chunk was sent, and its messages.
`--faults`: what becomes of conversation 0, 1, 2, … in turn, for conversations that begin with the load bench's mark;
`whole` is a whole answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import uvloop

MARK = re.compile(r"【整理番号 [0-9a-f]+-(\d+)】")
COUNTED = 10**6  # conversations from here on are warm-up
STATUSES = {"reject": (429, "full"), "busy": (503, "loading"), "break": (500, "broken"), "redirect": (307, "")}


@dataclass
class Seen:
    """One request, as the server had it; times on `perf_counter`, which all processes of a machine share."""

    number: int | None  # of the conversation, where the prompt has a mark
    messages: list[dict[str, str]]
    arrived_s: float
    sent_s: list[float] = field(default_factory=list)
    ended_s: float = 0.0


@dataclass
class Habits:
    chunks: int = 8
    first_s: float = 0.02
    gap_s: float = 0.005
    faults: Sequence[str] = ()
    usage: bool = True
    seen: list[Seen] = field(default_factory=list)


class Connection(asyncio.Protocol):
    def __init__(self, habits: Habits) -> None:
        self.habits, self.waiting = habits, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        head, end, rest = self.waiting.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        size = int(length[1]) if length else 0
        if not end or len(rest) < size:
            return
        self.waiting = rest[size:]
        path = head.split(b" ")[1]
        if path.endswith(b"/models"):
            self.answer(200, {"object": "list", "data": [{"id": "stamping"}]})
        elif path == b"/log":
            self.answer(200, [asdict(each) for each in self.habits.seen])
        else:
            self.chat(json.loads(rest[:size]))

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        where = "Location: http://127.0.0.1:9/\r\n" if status == 307 else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{where}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def chat(self, body: dict[str, Any]) -> None:
        mark = MARK.match(body["messages"][0]["content"])
        number = int(mark[1]) if mark else None
        seen = Seen(number, body["messages"], perf_counter())
        self.habits.seen.append(seen)
        faults = self.habits.faults
        fault = faults[number % len(faults)] if faults and number is not None and number < COUNTED else "whole"
        if fault in STATUSES:
            status, message = STATUSES[fault]
            self.answer(status, {"error": {"message": message}})
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head)
        steps = self.steps(seen, fault, min(self.habits.chunks, body["max_tokens"]))
        self.later(self.habits.first_s, steps)

    def later(self, wait_s: float, steps: Iterator[Callable[[], None]]) -> None:
        def do() -> None:
            step = next(steps, None)
            if step is not None and not self.transport.is_closing():
                step()
                self.later(self.habits.gap_s, steps)

        asyncio.get_running_loop().call_later(wait_s, do)

    def steps(self, seen: Seen, fault: str, chunks: int) -> Iterator[Callable[[], None]]:
        for at in range(chunks):
            if at == 2 and fault != "whole":
                yield from self.trouble(fault, seen)
                return
            yield lambda: self.stamp(seen)
        yield lambda: self.finish(seen)

    def trouble(self, fault: str, seen: Seen) -> Iterator[Callable[[], None]]:
        """After two chunks."""
        if fault == "reset":
            yield self.transport.abort
        elif fault == "cut":
            yield lambda: self.transport.write(b"0\r\n\r\n")
        elif fault == "malformed":
            yield lambda: self.event("{no JSON")
            yield lambda: self.finish(seen)
        elif fault == "error":
            yield lambda: self.event('{"error": {"message": "out of memory"}}')
            yield lambda: self.finish(seen)
        elif fault != "silent":
            raise ValueError(fault)

    def stamp(self, seen: Seen) -> None:
        now = perf_counter()
        seen.sent_s.append(now)
        self.event(json.dumps({"object": "chat.completion.chunk", "choices": [{"delta": {"content": f"{now:.6f} "}}]}))

    def finish(self, seen: Seen) -> None:
        tokens, seen.ended_s = len(seen.sent_s), perf_counter()
        usage = {"prompt_tokens": 10, "completion_tokens": tokens} if self.habits.usage else None
        last = {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}
        self.event(json.dumps(last), f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def event(self, data: str, rest: str = "") -> None:
        body = f"data: {data}\n\n{rest}".encode()
        self.transport.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")


@contextmanager
def stamping_server(*words: str) -> Iterator[str]:
    """The URL of one in a process of its own."""
    command = [sys.executable, str(Path(__file__)), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        scheme = "https" if "--tls-cert" in words else "http"
        yield f"{scheme}://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def serve(habits: Habits, port: int, tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(habits), "127.0.0.1", port, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--first-ms", type=float, default=20)
    parser.add_argument("--gap-ms", type=float, default=5)
    parser.add_argument("--faults", default="")
    parser.add_argument("--no-usage", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    given = parser.parse_args()
    habits = Habits(
        given.chunks, given.first_ms / 1000, given.gap_ms / 1000, [f for f in given.faults.split(",") if f],
        not given.no_usage,
    )  # fmt: skip
    tls = None
    if given.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.tls_cert, given.tls_key)
    uvloop.run(serve(habits, given.port, tls))


if __name__ == "__main__":
    main()
