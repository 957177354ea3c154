"""Stages: functions from files to files. Each product stands in the work folder under its key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from edgellm.errors import MissingExtra

# label, done, total: whoever calls a stage may draw a bar from it
Progress = Callable[[str, int, int], None]


def labelled(progress: Progress | None, label: str) -> Callable[[int, int], None] | None:
    return partial(progress, label) if progress else None


def versions_of(*packages: str) -> dict[str, str]:
    """Installed versions of edgellm and of the packages that decide a stage's product."""
    try:
        return {name: version(name) for name in ("edgellm", *packages)}
    except PackageNotFoundError as missing:
        raise MissingExtra(f"{missing.name} is not installed; run: pip install 'edgellm[onnx]'") from None
