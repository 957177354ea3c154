"""Disks that are too small, full, or not to be written: asked before the work, and said in one sentence after it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgellm.errors import NoSpace, NotWritable
from edgellm.store.atomic import ASIDE


def standing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def mount_of(path: Path) -> Path:
    """Where the disk that holds `path` is mounted, which is what `df` lists."""
    path = standing(path).resolve()
    return next(p for p in (path, *path.parents) if p.is_mount())


def named(path: Path) -> Path:
    """The path for a sentence: what is written aside goes by the folder that it stands in."""
    asides = [p for p in (path, *path.parents) if p.name.startswith(ASIDE)]
    return asides[-1].parent if asides else path


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(standing(path)).free


def amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.2f} MB"


def need_space(path: Path, wanted_bytes: int, what: str) -> None:
    """Raise NoSpace unless the disk that holds `path` has room for `wanted_bytes` more."""
    free = free_bytes(path)
    if free < wanted_bytes:
        raise NoSpace(
            f"{what} needs {amount(wanted_bytes)} and the disk of {named(path)}, mounted at {mount_of(path)}, has "
            f"{amount(free)} free; free some space or choose another folder"
        )


def need_writable(path: Path, what: str, instead: str) -> None:
    """Raise NotWritable unless `path` can be made, or replaced, where it stands.

    `instead` ends the sentence: what the user can choose in its place.
    """
    holder = standing(path.absolute().parent)
    if not holder.is_dir():
        raise NotWritable(f"{what} cannot be made, because {holder} is a file; {instead}")
    if not os.access(holder, os.W_OK | os.X_OK):
        read_only = os.statvfs(holder).f_flag & os.ST_RDONLY
        why = f"the disk mounted at {mount_of(holder)} is read-only" if read_only else f"{holder} may not be written"
        raise NotWritable(f"{what} cannot be written, because {why}; {instead}")


@contextmanager
def filling(path: Path, what: str) -> Iterator[None]:
    """While `what` is written below `path`: a disk that becomes full raises NoSpace."""
    try:
        yield
    except OSError as error:
        if not says_full(error):
            raise
        raise became_full(path, what) from error


def became_full(path: Path, what: str) -> NoSpace:
    return NoSpace(
        f"the disk of {named(path)}, mounted at {mount_of(path)}, became full while {what} was written; "
        "free some space and run this again: finished steps are kept"
    )


def says_full(error: OSError) -> bool:
    # NumPy's tofile gives no number, only how many values it was to write and how many it wrote.
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and "requested and" in str(error))
