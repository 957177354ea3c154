"""SHA-256 of files and of values; a digest is written `sha256:<hex>`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

BLOCK_BYTES = 1 << 20


def of_file(path: Path, on_progress: Callable[[int, int], None] | None = None) -> str:
    return of_files([path], on_progress)[0]


def of_files(paths: Sequence[Path], on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """One digest a file, in the order given. `on_progress` is called with (bytes read, bytes of all files)."""
    done, total = 0, sum(path.stat().st_size for path in paths)
    found = []
    for path in paths:
        digest = hashlib.sha256()
        with open(path, "rb") as f:
            while block := f.read(BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                if on_progress is not None:
                    on_progress(done, total)
        found.append(f"sha256:{digest.hexdigest()}")
    return found


def of_value(value: object) -> str:
    """Digest of anything that JSON can hold, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
