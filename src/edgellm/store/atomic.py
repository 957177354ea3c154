"""Writing so that a reader never sees half of anything: write aside in the same folder, then rename."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".aside-"  # half written, or being removed: worth nothing once its process has ended
REPLACED = ".replaced-"  # whole, but moved out of the way of a newer one
TOKEN_BYTES = 4

_unfinished: set[Path] = set()  # what this process writes aside at this moment


def aside_of(path: Path, prefix: str = ASIDE) -> Path:
    return path.with_name(f"{prefix}{secrets.token_hex(TOKEN_BYTES)}-{path.name}")


def name_behind(aside: str, prefix: str = ASIDE) -> str | None:
    """The name that `aside_of` was given, or None for a name that it did not make."""
    start = len(prefix) + 2 * TOKEN_BYTES + 1
    return aside[start:] if aside.startswith(prefix) and len(aside) > start else None


def clear_leftovers(path: Path) -> None:
    """Remove what killed processes left beside `path` on their way to it; only for the one that holds its lock.

    One that was killed between the two renames of `swap` left the old folder whole: it is put back first.
    """
    for entry in list(path.parent.iterdir()):
        if name_behind(entry.name, REPLACED) == path.name and is_vacant(path):
            os.rename(entry, path)
        elif path.name in (name_behind(entry.name), name_behind(entry.name, REPLACED)):
            remove(entry)


def is_vacant(path: Path) -> bool:
    """Whether a folder can be renamed to `path`: nothing is there, or an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


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
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    _unfinished.add(aside)
    try:
        yield aside
        sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
        _unfinished.discard(aside)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Give a fresh temporary folder beside `path`; on success it becomes `path`, on any failure it is removed.

    An existing folder at `path` is replaced as a whole, see `swap`.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    _unfinished.add(aside)
    try:
        aside.mkdir()
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
        _unfinished.discard(aside)


def remove_unfinished() -> None:
    """Remove what is written aside at this moment, for a process that ends without unwinding."""
    for aside in sorted(_unfinished):
        for _ in range(100):  # whoever writes there may add a file while the folder is emptied
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.unlink(missing_ok=True)
            if not aside.exists():
                break


def swap(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of the folder `path`.

    Where the file system can exchange two names there is no moment without a whole folder at `path`; the old
    one is then found at `new`. Elsewhere (NFS) it takes two renames, and a process killed between them leaves
    the old folder as `.replaced-…`, which `clear_leftovers` puts back.
    """
    try:
        exchange(new, path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        replace_in_two_renames(new, path)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names in one step; raises OSError, with EINVAL, ENOSYS or ENOTSUP where that cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        swapped = libc.renamex_np(*names, 2)  # RENAME_SWAP
    elif hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD
        swapped = libc.renameat2(here, names[0], here, names[1], 2)  # RENAME_EXCHANGE
    else:
        raise OSError(errno.ENOSYS, "this C library cannot exchange two names")
    if swapped != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))


def replace_in_two_renames(new: Path, path: Path) -> None:
    old = aside_of(path, REPLACED)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:  # Ctrl-C too
        if not path.exists():
            os.rename(old, path)
        raise
    shutil.rmtree(old)


def remove_at_once(path: Path) -> None:
    """Remove a file or folder so that it is never seen half removed under its own name."""
    gone = aside_of(path)
    os.rename(path, gone)
    remove(gone)


def write_text(path: Path, text: str) -> None:
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
