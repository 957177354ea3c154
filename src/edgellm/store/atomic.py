"""Writing so that a reader never sees half of anything: write aside in the same folder, then rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".aside-"


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, on any failure it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{ASIDE}{secrets.token_hex(4)}-{path.name}")
    try:
        yield aside
        with open(aside, "rb") as f:
            os.fsync(f.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Give a fresh temporary folder beside `path`; on success it becomes `path`, on any failure it is removed.

    An existing folder at `path` is replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{ASIDE}{secrets.token_hex(4)}-{path.name}")
    aside.mkdir()
    try:
        yield aside
        if path.exists():
            old = path.with_name(f"{ASIDE}{secrets.token_hex(4)}-old-{path.name}")
            os.rename(path, old)
            os.rename(aside, path)
            shutil.rmtree(old)
        else:
            os.rename(aside, path)
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def write_text(path: Path, text: str) -> None:
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
