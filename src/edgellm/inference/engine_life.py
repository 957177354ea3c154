"""One engine process from its start to its death, as the process that started it sees it."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from edgellm.engines.deaths import how_it_ended
from edgellm.errors import EngineFailed
from edgellm.inference.engine import EngineOrder
from edgellm.inference.engine_messages import Close, Loaded, Refused, Said
from edgellm.inference.engine_wire import Wire

CHILD = "edgellm.inference.engine_child"
LAST_LINES = 40  # of what it wrote to stderr, for the reason of its death
SAVING_S = 10.0  # for what it keeps on disk, after its last step


class Life:
    """Messages are sent by a thread of its own: whoever has one to send never waits for a process that is busy, and
    two processes that both wait for the other to listen cannot come about."""

    def __init__(self, order: EngineOrder, tell: Callable[[str], None]) -> None:
        """`tell` gets what the process warns of. Raises EngineFailed where no process can be started."""
        self.loaded_at: float | None = None
        self._tell = tell
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        try:
            ours, theirs = socket.socketpair()
            self.wire = Wire(ours)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", CHILD, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    text=True, errors="replace",
                    # Without the last of them ggml starts a debugger to print a backtrace when it aborts. The first
                    # keeps glibc from giving every thread a heap of its own, which grow side by side for ever.
                    env={"MALLOC_ARENA_MAX": "1"} | os.environ | {"GGML_NO_BACKTRACE": "1"},
                )  # fmt: skip
        except OSError as error:
            raise EngineFailed(f"no process can be started ({error.strerror}); free memory or raise limits") from error
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._keep_lines, self._send_all)]
        for thread in self._threads:
            thread.start()
        self.send(order)

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self) -> Loaded:
        """Wait until the model is there; raises what loading raises, EngineFailed if the process dies over it."""
        match self.receive():  # it says nothing else before it is asked something
            case [Loaded() as loaded]:
                self.loaded_at = time.monotonic()
                return loaded
            case [Refused(error)]:
                raise error
        raise EngineFailed(f"the engine process {self.ending()}")

    def send(self, message: object) -> None:
        self._outbox.put(pickle.dumps(message))

    def receive(self) -> list[object]:
        """The next messages; none when the process is dead."""
        messages: list[object] = []
        while not messages:
            try:
                messages = self.heard(self.wire.receive())
            except (EOFError, OSError):
                break
        return messages

    def heard(self, messages: Sequence[object]) -> list[object]:
        """Those that are not merely for whoever runs the server; those are told."""
        for message in messages:
            if isinstance(message, Said):
                self._tell(message.line)
        return [message for message in messages if not isinstance(message, Said)]

    def end(self, patience_s: float | None) -> None:
        """Let its last step take so long, and keep what is worth it; then kill it."""
        self.send(Close(patience_s))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(None if patience_s is None else patience_s + SAVING_S)
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self.ending()

    def ending(self) -> str:
        """How it died: what follows "the engine process …". The socket ends a moment before the process does."""
        code = self._process.wait()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join()
        self.wire.close()
        return how_it_ended(code, self._lines)

    def _send_all(self) -> None:
        with suppress(OSError):  # it has died, which whoever receives finds out
            while (message := self._outbox.get()) is not None:
                self.wire.send_pickle(message)

    def _keep_lines(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            self._lines.extend(line.strip() for line in lines)
