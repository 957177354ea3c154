"""edgellm's server on a real socket of this process, for tests that talk to it."""

from __future__ import annotations

import subprocess
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


def announced_url(process: subprocess.Popen[str], patience_s: float = 60.0) -> str:
    """The URL that `edgellm serve`, whose stderr is a pipe, says that it listens on; fails if it ends or never does."""
    assert process.stderr is not None
    said = []
    killer = threading.Timer(patience_s, process.kill)
    killer.start()
    try:
        for line in process.stderr:
            if line.startswith("serving"):
                return line.split()[-1]
            said.append(line)
    finally:
        killer.cancel()
    raise AssertionError(f"the server did not begin to listen, and said: {''.join(said)}")


def eventually(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait until the condition holds; fails if it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.005)
