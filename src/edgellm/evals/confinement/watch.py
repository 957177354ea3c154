"""What the processes of a sandbox hold, seen from outside: how many they are, their memory, the files they made."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Held:
    processes: int
    memory_bytes: int  # of pages that are no file's, summed over processes


def held_below(process: int) -> Held:
    """What the descendants of `process` hold; those that end meanwhile count for nothing."""
    found = descendants(process)
    return Held(len(found), sum(own_bytes(one) for one in found))


def descendants(process: int) -> set[int]:
    """Every process below this one. All of a sandbox stay below its bubblewrap, whoever else their parents were."""
    found: set[int] = set()
    waiting = [process]
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    return found


def own_bytes(process: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        _, resident, of_files, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
        return max(0, resident - of_files) * PAGE_BYTES
    return 0


def tasks_of_user() -> int:
    """How many processes and threads this user has, as a kernel counts them that does so over all namespaces."""
    found = 0
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                found += len(os.listdir(f"/proc/{name}/task"))
    return found


def files_in(folder: int | None) -> int:
    """How many files and folders the file system of this handle holds."""
    if folder is None:
        return 0
    state = os.fstatvfs(folder)
    return state.f_files - state.f_ffree
