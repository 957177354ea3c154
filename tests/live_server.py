"""edgellm's server on a real socket of this process, for tests that talk to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgellm.inference.chat import SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.serve.app import create_app
from edgellm.serve.server import Server, address, bind
from edgellm.serve.service import Service


@contextmanager
def live_server(
    chat: LocalChat, *, name: str = "tiny", keys: Sequence[str] = (), defaults: SamplingOptions | None = None
) -> Iterator[str]:
    """Give the URL; at the end the server stops and the chat's scheduler is closed."""
    ready = threading.Event()
    sock = bind("127.0.0.1", 0)
    service = Service(name, chat, defaults or SamplingOptions())
    server = Server(create_app(service, keys), chat.scheduler, ready.set)
    url = address(sock)
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        assert ready.wait(30)
        yield url
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait until the condition holds; fails if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.005)
