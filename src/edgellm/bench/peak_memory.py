"""The most memory that this process held while something ran."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from edgellm.bench.tree import Tree

STATUS, CLEAR = "proc/self/status", "proc/self/clear_refs"
RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


class PeakMemory:
    """Begins with its making. Counts what is resident, pages of mapped files too."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._tree = Tree(root)
        try:
            (root / CLEAR).write_text(RESET_PEAK)
        except OSError:
            pass  # not everywhere allowed; then only a peak higher than all before is known to be of this time
        else:
            self._before = 0
            return
        self._before = self._peak() or 0

    def read(self) -> int | None:
        """Bytes; None where the system does not tell, or where the peak may be of a time before."""
        peak = self._peak()
        return peak if peak is not None and peak > self._before else None

    def _peak(self) -> int | None:
        for line in (self._tree.text(STATUS) or "").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        if sys.platform == "darwin" and self._tree.is_real:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None
