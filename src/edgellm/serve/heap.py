"""Memory that large requests took goes back to the system soon after them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys

LARGE_BYTES = 1 << 20
SWEEP_S = 2.0  # after a large request, so that many of them cost one sweep
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h


def share_heap() -> None:
    """Let all threads share one heap, until the process ends; before any thread has begun.

    glibc gives each new thread a heap of its own, and what is free in one is not used in another. How many there may be
    is settled when the first of them asks for memory.
    """
    _set(M_ARENA_MAX, 1)


def keep_small() -> None:
    """For a server's process, once its modules are there; it stays in force until the process ends.

    glibc raises the size from which a block is given back with every such block that is freed, so that one request of
    10 MB makes the next ones stay. Here it keeps to one size. What has been made so far is not looked at in sweeps.
    """
    gc.collect()
    gc.freeze()
    _set(M_MMAP_THRESHOLD, LARGE_BYTES)
    _set(M_TRIM_THRESHOLD, LARGE_BYTES)


def _set(what: int, value: int) -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and gives back by itself
        if mallopt is not None:
            mallopt(what, value)


class Sweeper:
    """Frees what refused requests leave behind: exceptions and their frames refer to one another, and hold the body.

    Python looks for such rings by the number of objects, not by their size, so it may take hours.
    """

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def after(self, size_bytes: int) -> None:
        """A request of so many bytes has ended; on the event loop."""
        if size_bytes >= LARGE_BYTES and self._due is None:
            self._due = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._due = None
        gc.collect()
