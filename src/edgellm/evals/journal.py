"""What an unfinished evaluation has done already: one line an answer, so that nothing is asked twice after a kill."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput


class Journal:
    """Finished jobs by their key, kept in a file that only grows.

    The first line names the run by the digest of all that it depends on; the caller puts that digest into the file's
    name too, so that a run with other settings never meets it. A line that a kill cut short is dropped, and done again.
    """

    def __init__(self, path: Path, run: str) -> None:
        """Open or begin the journal of `run`; raises BadInput if the file is another run's."""
        self.path = path
        self._done: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._read(run) if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(whole)
        if not whole:
            self._write({"run": run})

    def _read(self, run: str) -> int:
        """Take in the whole lines; gives their length in bytes."""
        whole = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines):
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    break  # cut short: nothing that follows can be trusted
                if number == 0 and entry.get("run") != run:
                    raise BadInput(f"{self.path} is the journal of another evaluation; remove it to begin this one")
                if number:
                    self._done[entry["key"]] = entry["value"]
                whole += len(line)
        return whole

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def get(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            return self._done.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Remember a finished job; on the disk when this returns."""
        with self._lock:
            self._write({"key": key, "value": value})
            self._done[key] = value

    def __len__(self) -> int:
        return len(self._done)

    def close(self, *, finished: bool = False) -> None:
        """`finished`: the result is out, so the journal goes."""
        self._file.close()
        if finished:
            self.path.unlink(missing_ok=True)
