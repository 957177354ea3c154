"""Stages: functions from files to files. Each product stands in the work folder under its key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from edgellm.errors import MissingExtra
from edgellm.store.work import Made

Report = Callable[[int, int], None]  # done, total: bytes, tokens, whatever the work consists of


class Progress(Protocol):
    """Where a verb says what it is doing; whoever calls it draws bars from that, or writes a log."""

    def work(self, label: str) -> AbstractContextManager[Report]:
        """The block is work called `label`. Its length is unknown until the first report."""
        ...

    def note(self, text: str) -> None:
        """Say something that takes no time; the same text is said once."""
        ...


def labelled(progress: Progress | None, label: str) -> AbstractContextManager[Report | None]:
    """`progress.work(label)`, where anybody watches."""
    return progress.work(label) if progress else nullcontext()


def told(progress: Progress | None, label: str, made: Made) -> Made:
    """The same step; whoever watches is told when there was nothing to do."""
    if progress and made.reused:
        progress.note(f"{label}: reused")
    return made


def versions_of(*packages: str) -> dict[str, str]:
    """Installed versions of edgellm and of the packages that decide a stage's product."""
    try:
        return {name: version(name) for name in ("edgellm", *packages)}
    except PackageNotFoundError as missing:
        raise MissingExtra(f"{missing.name} is not installed; run: pip install 'edgellm[onnx]'") from None
