"""Bars on stderr for a terminal, plain lines for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.stages import Progress

LINE_EVERY_S = 5.0


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Give a function (label, done, total) that shows how far each labelled piece of work is."""
    if sys.stderr.isatty():
        with rich_bars() as show:
            yield show
    else:
        yield plain_lines()


@contextmanager
def rich_bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, object] = {}

        def show(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)  # type: ignore[arg-type]

        yield show


def plain_lines() -> Progress:
    last: dict[str, float] = {}

    def show(label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - last.get(label, 0.0) >= LINE_EVERY_S:
            last[label] = now
            print(f"{label}: {done}/{total}", file=sys.stderr, flush=True)

    return show
