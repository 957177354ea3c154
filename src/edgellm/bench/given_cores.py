"""Which cores, and how much of their time, the system gives this program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from edgellm.bench.tree import Tree
from edgellm.engines.cores import usable_cores

GROUPS = "sys/fs/cgroup"


def given_cores() -> list[int]:
    """The numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(usable_cores()))


def quota_cores(tree: Tree) -> float | None:
    """How many cores' time the control groups of this process allow it, 1.5 say; None where nothing limits it."""
    limits = [limit for folder in group_folders(tree) if (limit := quota_of(tree, folder))]
    return min(limits, default=None)


def quota_of(tree: Tree, folder: str) -> float | None:
    quota, period = (tree.text(f"{folder}/cpu.max") or "").split() or (None, None)  # version 2
    if quota is None:
        quota, period = (tree.text(f"{folder}/cpu.cfs_{part}_us") for part in ("quota", "period"))
    if not quota or not period or not quota.isdigit() or not int(period):  # "max", or −1
        return None
    return int(quota) / int(period)


def group_folders(tree: Tree) -> Iterator[str]:
    """The folders that may hold a limit: of the process's group and of all above it, in both versions."""
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            mount = GROUPS
        elif "cpu" in controllers.split(","):
            mount = f"{GROUPS}/cpu"
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        for each in (path, *path.parents):
            yield f"{mount}/{each}"
