"""edgellm's server on a real socket of this process, for tests that talk to it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgellm.inference.chat import SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.serve.answering import ReaderLimits
from edgellm.serve.app import create_app
from edgellm.serve.connections import ConnectionLimits
from edgellm.serve.gennai import GennaiOptions
from edgellm.serve.guards import Guards
from edgellm.serve.key_file import new_record
from edgellm.serve.keys import KeyRing
from edgellm.serve.server import Server, address, bind
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer


@contextmanager
def live_server(
    chat: LocalChat, *, name: str = "tiny", keys: Sequence[str] = (), guards: Guards | None = None,
    defaults: SamplingOptions | None = None, connections: ConnectionLimits | None = None,
    certificate: tuple[Path, Path] | None = None, gennai: GennaiOptions | None = None,
) -> Iterator[str]:  # fmt: skip
    """Give the URL; at the end the server stops and the chat's scheduler is closed."""
    offer = Offer(name, lambda _: chat, chat.scheduler.info.adapters, defaults or SamplingOptions())
    service = Service([offer])
    guards = guards or Guards(KeyRing([new_record(f"key-{n}", key) for n, key in enumerate(keys)]) if keys else None)
    with live_service(service, guards, connections=connections, certificate=certificate, gennai=gennai) as url:
        yield url


@contextmanager
def live_service(
    service: Service, guards: Guards | None = None, *, connections: ConnectionLimits | None = None,
    certificate: tuple[Path, Path] | None = None, gennai: GennaiOptions | None = None,
    readers: ReaderLimits | None = None,
) -> Iterator[str]:  # fmt: skip
    """The same for any service; at the end every model of it is closed."""
    ready = threading.Event()
    sock = bind("127.0.0.1", 0)
    app = create_app(service, guards, gennai=gennai, readers=readers)
    server = Server(app, service, ready.set, connections=connections, certificate=certificate)
    url = address(sock, "https" if certificate else "http")
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
