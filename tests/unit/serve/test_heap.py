"""One heap for all threads of a server."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

ARENA_BYTES = 64 << 20  # glibc reserves so much for each heap beside the first, at a multiple of it
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps, seen through /proc")


def heaps_of_threads(process: int) -> list[str]:
    """Memory that begins where a heap would, is of no file, and is followed by the rest of its reservation."""
    lines = [line.split() for line in Path(f"/proc/{process}/maps").read_text().splitlines()]
    found = []
    for line, after in pairwise(lines):
        start = int(line[0].split("-")[0], 16)
        if start % ARENA_BYTES == 0 and len(line) == 5 and line[1] == "rw-p" and after[1] == "---p":
            found.append(line[0])
    return found


def test_a_server_has_one_heap_however_many_threads_it_has() -> None:
    command = [sys.executable, "-m", "edgellm", "serve", "tiny-ja", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            assert any("serving" in line for line in server.stderr)
            time.sleep(0.5)
            assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) > 2
            assert heaps_of_threads(server.pid) == []
        finally:
            server.terminate()
            server.stderr.read()
