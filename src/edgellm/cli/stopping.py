"""Ctrl-C and SIGTERM: one line on stderr and an end within a second, whatever runs at that moment.

Python runs a signal's handler between two of its own instructions, so not while a library computes, and one call
of it may load a model or read a prompt for many seconds. Therefore a thread is told of the signal as well. The main
thread gets an exception and unwinds, which kills children and removes what is half written; if that is not done
soon, or a second signal comes, the thread does it and ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

GRACE_S = 0.4
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MARK = 0  # in the pipe, between the numbers of signals
LAST_LINE = "edgellm: stopped\n"
SHOW_CURSOR = "\x1b[?25h"  # a bar hides it


class Stopped(BaseException):
    """A signal has come. No KeyboardInterrupt, for which libraries have ideas of their own."""


class Stop:
    """Listens for the signals from `listen` on."""

    def __init__(self) -> None:
        self._asked_by: signal.Signals | None = None
        self._ending = threading.Lock()
        self._told: int | None = None  # a pipe's end, once there is a thread that reads the other
        self._caught_up = threading.Event()

    def listen(self) -> None:
        """Take over the signals; one that was ignored when the process began (`nohup`, `&`) stays ignored."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        threading.Thread(target=self._watch, args=(reading,), name="edgellm-stop", daemon=True).start()
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._told = writing
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        sys.unraisablehook = self._unraisable

    def end_if_asked(self) -> None:
        """End the process if a signal has come, whatever its exception has become since."""
        if self._asked_by is not None:
            self._end(self._asked_by)

    def let_go(self) -> None:
        """The work is done: a signal that comes now finds nothing to unwind, and ends the process as it would any."""
        self.end_if_asked()
        for number in SIGNALS:
            if signal.getsignal(number) == self._interrupt:
                signal.signal(number, signal.SIG_DFL)

    @contextmanager
    def own_interrupts(self) -> Iterator[None]:
        """Within the block Ctrl-C raises KeyboardInterrupt and ends nothing by itself."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            if self._told is not None:  # what has come so far must not count as coming afterwards
                self._caught_up.clear()
                os.write(self._told, bytes([MARK]))
                self._caught_up.wait()
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        if self._asked_by is None:  # the thread sees to a second one
            self._asked_by = signal.Signals(number)
            raise Stopped

    def _watch(self, reading: int) -> None:
        """Each signal's number comes as a byte, at once. Those that somebody else has taken over do not count."""
        first: signal.Signals | None = None
        while first is None or select.select([reading], [], [], GRACE_S)[0]:
            number = os.read(reading, 1)[0]
            if number == MARK:
                self._caught_up.set()
            if number not in SIGNALS or signal.getsignal(number) != self._interrupt:
                continue
            if first is not None:
                break
            first = signal.Signals(number)
        self._end(first)

    def _end(self, number: signal.Signals) -> NoReturn:
        """Without the interpreter's own shutdown, which would wait for threads that compute."""
        self._ending.acquire()  # never released: the other thread waits here until the process is gone
        try:
            end_children()
            remove_unfinished()
            say_stopped()
        finally:  # nothing may keep the process, for it listens to no signal any more
            os._exit(128 + number)

    @staticmethod
    def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        # A signal that came while a library called us back: its exception cannot pass through the library.
        if not isinstance(unraisable.exc_value, Stopped):
            sys.__unraisablehook__(unraisable)


STOP = Stop()  # signals are the process's, so there is one


def end_children() -> None:
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.Error):  # it has ended by itself
            child.kill()
    psutil.wait_procs(children, timeout=GRACE_S)


def remove_unfinished() -> None:
    from edgellm.store import atomic

    atomic.remove_unfinished()


def say_stopped() -> None:
    """Past Python's buffers, which another thread may hold. A terminal has shown ^C, and its line is not ended."""
    before = ""
    if os.isatty(2):
        before = "\n" if os.environ.get("TERM") == "dumb" else f"{SHOW_CURSOR}\n"
    with suppress(OSError):  # nobody reads any more
        os.write(2, f"{before}{LAST_LINE}".encode())
