"""One process at a time on a step or an output: a lock file beside it, gone when the work ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgellm.errors import Busy
from edgellm.store.atomic import clear_leftovers
from edgellm.store.disk import need_writable

PATIENCE_S = 0.3  # `clean` holds each lock for a moment


@contextmanager
def claimed(out: Path, what: str) -> Iterator[None]:
    """Hold the output `out`, a file or a folder, for the time of the block, and clear what killed runs left beside it.

    Entered before the work: raises NotWritable where `out` could not be written after it, and Busy if another
    process holds it.
    """
    out = out.resolve()
    need_writable(out, what, "give another place with --out")
    missing = [p for p in out.parents if not p.exists()]
    try:
        with locked(lock_file(out), what):
            clear_leftovers(out)
            yield
    finally:
        for folder in missing:  # those of them that were made for nothing
            with suppress(OSError):
                folder.rmdir()


def lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` for the time of the block; raises Busy at once if another process
    has it. The system gives the lock of a killed process back, so a file that is left over locks nothing."""
    handle = lock(path, what)
    try:
        yield
    finally:
        with suppress(PermissionError):  # another user's, left over in a folder where only its owner removes it
            path.unlink(missing_ok=True)  # while it is held, see `lock`
        os.close(handle)


def lock(path: Path, what: str) -> int:
    """An open file that holds the lock; its last holder may have removed it between the opening and the locking,
    and then it would keep nobody out, so the next one is taken."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # To read is enough for a lock, and a file that another user left over may allow no more.
            handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
        except FileNotFoundError:  # a neighbour that failed has just removed the folder that it had made
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() < deadline:
                time.sleep(PATIENCE_S / 10)
                continue
            raise Busy(
                f"another edgellm process is working on {what}; wait until it ends, then run this again"
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)
