"""A command on a pseudo-terminal of its own, as a user has it: what it shows, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import psutil

CTRL_C, CTRL_D = b"\x03", b"\x04"
BAR_GONE = "\x1b[?25h"  # the cursor is shown again
PATIENCE_S = 120.0


class Terminal:
    """Runs `edgellm WORDS`, in a session of its own whose controlling terminal is the pseudo-terminal.

    stdout goes to the terminal too, or to the file `stdout`.
    """

    def __init__(
        self, *words: object, stdout: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.seen = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        out = stdout.open("wb") if stdout else theirs
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgellm", *map(str, words)], stdin=theirs, stdout=out, stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color"} | dict(environment or {}), start_new_session=True,
            preexec_fn=lambda: take_terminal(theirs),
        )  # fmt: skip
        os.close(theirs)

    @property
    def text(self) -> str:
        return self.seen.decode("utf-8", "replace")

    def until(self, *parts: str) -> None:
        """Wait until the terminal has shown all parts, one after the other; fails if the command ends before."""
        deadline, after = time.monotonic() + PATIENCE_S, 0
        for part in parts:
            while (found := self.text.find(part, after)) < 0:
                assert self._read(deadline), f"{part!r} was not shown in {self.text[-2000:]!r}"
            after = found + len(part)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def wait(self) -> int:
        """Read on until the command has ended; gives its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def left_behind(self) -> list[str]:
        """Command lines of processes that the command has left in its session."""
        return [" ".join(p.cmdline()) for p in psutil.process_iter() if session_of(p.pid) == self.process.pid]

    def _read(self, deadline: float) -> bool:
        """Take in what the terminal shows next; False once nobody writes to it any more."""
        assert select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0], self.text[-2000:]
        try:
            got = os.read(self._ours, 1 << 16)
        except OSError:  # what Linux gives when the last one has closed the terminal
            return False
        self.seen += got
        return bool(got)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for process in psutil.process_iter():
            if session_of(process.pid) == self.process.pid:
                process.kill()
        self.process.wait()
        os.close(self._ours)


def take_terminal(terminal: int) -> None:
    """Between fork and exec: the terminal becomes that of the session; Ctrl-C works even where we ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
