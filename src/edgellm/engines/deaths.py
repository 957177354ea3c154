"""How a child process ended, in words."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

TELLING = re.compile(r"assert|abort|error|fail|exception|terminate", re.IGNORECASE)


def how_it_ended(code: int, lines: Iterable[str]) -> str:
    """What follows "the process …" in a sentence; `code` as `Popen.wait` gives it, `lines` the last that it wrote."""
    if code == -signal.SIGKILL:
        return "was killed, most likely because memory ran out"
    return f"died ({name_of(code)}), saying “{telling_line(lines)}”"


def name_of(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {-code}"


def telling_line(lines: Iterable[str]) -> str:
    """The last line that speaks of a failure, else the last one; file names without folders."""
    said = [line for line in lines if line]
    telling = [line for line in said if TELLING.search(line)] or said
    if not telling:
        return "nothing"
    return " ".join(re.sub(r"\S*/(?=[^/\s]+:\d+: )", "", telling[-1]).split())
