"""A cgroup (version 2) for one program, where this user can have one: the kernel's own limit of memory and processes.

Without one, limits of each process and the watch of `evals.sandbox` hold. Source: Linux,
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
_CLEAN = ("/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "LANG=C.UTF-8")
_TALKS_TO_SYSTEMD = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


@dataclass(frozen=True)
class Group:
    """What stands before the program's command line, and the environment that this needs."""

    prefix: Sequence[str] = _CLEAN
    environment: Mapping[str, str] | None = None
    folder: Path | None = None  # of the cgroup, where we made it
    kind: str = "rlimits"

    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the group for its memory."""
        if self.folder is None:
            return False
        with suppress(OSError):
            events = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
            return int(events.get("oom_kill", 0)) > 0
        return False


@contextmanager
def group(memory_bytes: int, processes: int) -> Iterator[Group]:
    """A group while the program runs; it is removed afterwards."""
    folder = None
    if (parent := own_parent()) is not None:
        with suppress(OSError):
            folder = made(parent, memory_bytes, processes)
    if folder is not None:
        try:
            yield Group(("/bin/sh", "-c", _ENTER, str(folder), *_CLEAN), None, folder, "cgroup")
        finally:
            removed(folder)
        return
    if systemd_gives_groups():
        yield Group((*scope(memory_bytes, processes), *_CLEAN), environment(), None, "cgroup")
    else:
        yield Group()


def own_parent(root: Path | None = None, own: str | None = None) -> Path | None:
    """The nearest cgroup above this process whose children are limited in memory and that this user may divide."""
    root = root or mounted()
    if root is None:
        return None
    own = own_path() if own is None else own
    here = root / own.strip("/")
    for folder in [here, *here.parents]:
        if not folder.is_relative_to(root):
            break
        with suppress(OSError):
            given = (folder / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(given) and os.access(folder, os.W_OK):
                return folder
    return None


def mounted() -> Path | None:
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                return Path(where)
    return None


def own_path() -> str:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line.removeprefix("0::")
    return "/"


def made(parent: Path, memory_bytes: int, processes: int) -> Path:
    """A new group below `parent`; raises OSError where the kernel does not let this user make one."""
    folder = parent / f"edgellm-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        (folder / "memory.max").write_text(str(memory_bytes))
        (folder / "pids.max").write_text(str(processes))
        if (folder / "memory.swap.max").exists():
            (folder / "memory.swap.max").write_text("0")
    except OSError:
        removed(folder)
        raise
    return folder


def removed(folder: Path) -> None:
    for _ in range(50):  # the kernel still counts processes that have just ended
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)


def scope(memory_bytes: int, processes: int) -> list[str]:
    """systemd's own way for a user; the program stays this process's child."""
    limits = (f"MemoryMax={memory_bytes}", "MemorySwapMax=0", f"TasksMax={processes}")
    options = [word for limit in limits for word in ("--property", limit)]
    return ["systemd-run", "--user", "--scope", "--quiet", "--collect", *options, "--"]


def environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)} | {
        name: os.environ[name] for name in _TALKS_TO_SYSTEMD if name in os.environ
    }


@cache
def systemd_gives_groups() -> bool:
    """Whether a scope with limits can be had, tried once with a program that looks for a handle of ours."""
    if shutil.which("systemd-run") is None or "XDG_RUNTIME_DIR" not in os.environ:
        return False
    reader, writer = os.pipe()
    try:
        tried = subprocess.run(
            [*scope(64 << 20, 16), "/usr/bin/test", "-p", f"/proc/self/fd/{writer}"], env=environment(),
            pass_fds=[writer], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
        )  # fmt: skip
        return tried.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        os.close(reader)
        os.close(writer)
