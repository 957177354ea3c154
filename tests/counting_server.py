"""An OpenAI-compatible server that says what a test wants to hear, and writes down whatever it was asked.

It can be full, break off, or hold its answers back, each for a number of requests; and it can pass what it is asked on
to another server, whose answers it gives.
"""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Fault = Literal["", "full", "broken", "cut"]
NAME = "counting"
PASSED_ON_TOKENS = 16


@dataclass
class Counting:
    """`faults` are used up, one a request; from the request with the number `hold_from` on nothing is answered until
    `release` is set."""

    url: str = ""
    answer: Callable[[dict[str, Any]], str] = lambda body: "はい。"
    passed_on_to: str = ""
    hold_from: int | None = None
    faults: list[Fault] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    answered: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self) -> Counter[str]:
        """How often each conversation was asked for."""
        with self.lock:
            return Counter(json.dumps(body["messages"], ensure_ascii=False) for body in self.asked)


@contextmanager
def counting_server(**settings: Any) -> Iterator[Counting]:
    counting = Counting(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(counting))
    server.daemon_threads = True
    counting.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield counting
    finally:
        counting.release.set()
        server.shutdown()
        server.server_close()


def handler_of(counting: Counting) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.say(200, {"object": "list", "data": [{"id": NAME}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with counting.lock:
                counting.asked.append(body)
                counting.keys.append(self.headers.get("Authorization", ""))
                number = len(counting.asked)
                fault = counting.faults.pop(0) if counting.faults else ""
            if counting.hold_from is not None and number >= counting.hold_from and not counting.release.is_set():
                counting.release.wait()
            with suppress(OSError):  # whoever asked is gone
                self.reply(body, fault)

        def reply(self, body: dict[str, Any], fault: Fault) -> None:
            if fault == "full":
                self.say(429, {"error": {"message": "full"}}, {"Retry-After": "1"})
            elif fault == "broken":
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                upstream = counting.passed_on_to
                events = passed_on(upstream, body) if upstream else told(counting.answer(body))
                with counting.lock:  # before: whoever has the answer may look at once
                    counting.answered += 1
                self.stream(events.partition(b"\n\n")[0] + b"\n\n" if fault == "cut" else events)

        def say(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, events: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(events)))
            self.end_headers()
            self.wfile.write(events)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def told(answer: str) -> bytes:
    """The events of a whole answer."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": answer}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
    ]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def passed_on(url: str, body: dict[str, Any]) -> bytes:
    """What the other server says in a few tokens, whatever model was asked for."""
    short = {key: value for key, value in body.items() if key != "model"} | {"max_tokens": PASSED_ON_TOKENS}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(short).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        data: bytes = response.read()
    return data
