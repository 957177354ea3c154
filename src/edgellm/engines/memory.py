"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def free_memory_bytes() -> int:
    """What the machine has free, or in a container with a limit what that leaves, if it is less."""
    return min(int(psutil.virtual_memory().available), left_in_group(CGROUP))


def left_in_group(group: Path) -> int:
    """Of the memory limit of a control group (version 2); files that are merely cached count as free."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 1 << 62  # no such group, as on macOS and in the root group: no limit
    # Not the whole of "file", for that counts what lies in a tmpfs and cannot be dropped.
    cached = sum(int(stat.get(key, 0)) for key in ("active_file", "inactive_file"))
    return 1 << 62 if limit == "max" else max(0, int(limit) - used + cached)
