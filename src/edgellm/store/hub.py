"""Repositories of the Hugging Face hub as far as they lie on this machine already; nothing here uses the network.

Layout of the cache: `models--OWNER--NAME/snapshots/COMMIT/…`, with `refs/main` naming the newest commit fetched
(huggingface.co/docs/huggingface_hub, "Understand caching").
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where the hub's own tools put what they fetch."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def snapshot(repository: str, revision: str = "") -> Path | None:
    """The folder of a repository `OWNER/NAME` in the cache, None if it is not there.

    revision: a commit; without one the newest that was fetched.
    """
    place = cache_folder() / f"models--{repository.replace('/', '--')}"
    newest = place / "refs" / "main"
    if not revision and newest.is_file():
        revision = newest.read_text(encoding="utf-8").strip()
    found = place / "snapshots" / revision
    return found if revision and found.is_dir() else None
