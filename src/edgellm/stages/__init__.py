"""Stages: functions from files to files. Each product stands in the work folder under its key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

# label, done, total: whoever calls a stage may draw a bar from it
Progress = Callable[[str, int, int], None]


def labelled(progress: Progress | None, label: str) -> Callable[[int, int], None] | None:
    return partial(progress, label) if progress else None


def versions_of(*packages: str) -> dict[str, str]:
    return {name: version(name) for name in ("edgellm", *packages)}
