"""SHA-256 of files and of values; a digest is written `sha256:<hex>`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

BLOCK_BYTES = 1 << 20


def of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(BLOCK_BYTES):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def of_value(value: object) -> str:
    """Digest of anything that JSON can hold, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
