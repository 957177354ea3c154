"""How many threads an engine takes when nobody says."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many cores this process may run on, which in a container or under taskset is fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity


def threads_in_words(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
