"""Bars on stderr for a terminal, plain lines for a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task

    from edgellm.stages import Progress, Report

LONG_S = 2.0  # work that takes less leaves no line behind
LINE_EVERY_S = 5.0
SELDOM_LINE_EVERY_S = 60.0
LOOK_EVERY_S = 0.5
BARS_A_SECOND = 4  # a busier bar would be felt in what `bench` measures


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Give what shows work on stderr: as bars on a terminal, else as lines without escape codes.

    Work that takes under two seconds leaves nothing behind on either.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with Bars().shown() as bars:
            yield bars
    else:
        with Lines(sys.stderr).ticking() as lines:
            yield lines


@dataclass
class Piece:
    """Work under way."""

    label: str
    began: float
    next_line_s: float = LONG_S  # after `began`
    done: int = 0
    total: int = 0  # 0: not known

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def line(self, elapsed: float) -> str:
        if not self.total:
            count = f"{amount(self.done)}, " if self.done else ""
            return f"{self.label}: {count}{duration(elapsed)}"
        left = f", {duration(elapsed * (self.total - self.done) / self.done)} left" if self.done else ""
        share = f"{amount(self.done)}/{amount(self.total)} ({self.done / self.total:.0%})"
        return f"{self.label}: {share}, {duration(elapsed)}{left}"


@dataclass
class Lines:
    """A line about work when it has taken two seconds, then every five seconds, later ever more seldom, and one at
    its end. A thread writes those in between, since the work may be one long call of a library."""

    out: TextIO
    clock: Callable[[], float] = time.monotonic
    _pieces: list[Piece] = field(default_factory=list)
    _noted: set[str] = field(default_factory=set)

    @contextmanager
    def work(self, label: str) -> Iterator[Report]:
        piece = Piece(label, self.clock())
        self._pieces.append(piece)
        try:
            yield piece.report
        finally:
            self._pieces.remove(piece)
        elapsed = self.clock() - piece.began
        if elapsed >= LONG_S:
            self._say(ended(label, elapsed))

    def note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._say(text)

    def tick(self) -> None:
        """Write the lines that are due."""
        for piece in list(self._pieces):
            elapsed = self.clock() - piece.began
            if elapsed >= piece.next_line_s:
                piece.next_line_s = elapsed + min(max(LINE_EVERY_S, elapsed / 4), SELDOM_LINE_EVERY_S)
                self._say(piece.line(elapsed))

    @contextmanager
    def ticking(self) -> Iterator[Lines]:
        over = threading.Event()

        def tick_until_over() -> None:
            while not over.wait(LOOK_EVERY_S):
                self.tick()

        ticker = threading.Thread(target=tick_until_over, name="edgellm-progress", daemon=True)
        ticker.start()
        try:
            yield self
        finally:
            over.set()
            ticker.join()

    def _say(self, line: str) -> None:
        with suppress(OSError):  # a log that nobody reads any more is no reason to end the work
            print(line, file=self.out, flush=True)


class Bars:
    """A bar for work under way; for long work a line above the bars when it has ended."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        label = TextColumn("{task.description:<28}", markup=False)
        self._console = Console(stderr=True, highlight=False, markup=False)
        # Redirecting would bring what a verb prints on stdout to stderr.
        self._bars = Progress(
            label, BarColumn(), *figures(), console=self._console, transient=True, refresh_per_second=BARS_A_SECOND,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._noted: set[str] = set()

    @contextmanager
    def work(self, label: str) -> Iterator[Report]:
        began = time.monotonic()
        task = self._bars.add_task(label, total=None)
        self._bars.refresh()  # short work is seen too
        try:
            yield lambda done, total: self._bars.update(task, completed=done, total=total or None)
        finally:
            self._bars.remove_task(task)
        elapsed = time.monotonic() - began
        if elapsed >= LONG_S:
            self._console.print(ended(label, elapsed))

    def note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._console.print(text)

    @contextmanager
    def shown(self) -> Iterator[Bars]:
        with self._bars:
            yield self


def figures() -> list[ProgressColumn]:
    """What stands after a bar: how much of how much, seconds so far, seconds left."""
    from rich.progress import ProgressColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Share(ProgressColumn):
        def render(self, task: Task) -> Text:
            done = amount(int(task.completed)) if task.completed else ""
            return Text(f"{done or 0}/{amount(int(task.total))}" if task.total else done)

    return [Share(), TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=False)]


def ended(label: str, elapsed: float) -> str:
    return f"{label}: done, {duration(elapsed)}"


def amount(count: int) -> str:
    """A count in at most six characters: 9999, 312k, 4.7M, 1.25G."""
    for unit, power in (("T", 12), ("G", 9), ("M", 6), ("k", 3)):
        if count >= 999.5 * 10 ** (power - 3) and count >= 10_000:
            return f"{count / 10**power:.3g}{unit}"
    return str(count)


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
