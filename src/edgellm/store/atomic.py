"""Writing so that a reader never sees half of anything: write aside in the same folder, then rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".aside-"


def aside_of(path: Path) -> Path:
    return path.with_name(f"{ASIDE}{secrets.token_hex(4)}-{path.name}")


def sync(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk, so that a power cut after a rename finds it whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, on any failure it is removed."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        yield aside
        sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Give a fresh temporary folder beside `path`; on success it becomes `path`, on any failure it is removed.

    An existing folder at `path` is replaced as a whole, and put back if the replacing fails.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    aside.mkdir()
    try:
        yield aside
        for entry in [*aside.rglob("*"), aside]:
            sync(entry)
        if path.exists():
            swap(aside, path)
        else:
            os.rename(aside, path)
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def swap(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of the folder `path`, which is removed afterwards."""
    old = aside_of(path)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old)


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is never seen half removed under its own name."""
    gone = aside_of(path)
    os.rename(path, gone)
    shutil.rmtree(gone)


def write_text(path: Path, text: str) -> None:
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
