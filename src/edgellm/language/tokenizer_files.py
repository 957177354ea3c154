"""The files of which each holds a whole vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

JSONL, JSON, MODEL = "tokenizer.jsonl", "tokenizer.json", "tokenizer.model"
TOKENIZER_FILES = (JSONL, JSON, MODEL)  # in the order in which text is encoded by them


def tokenizer_file(folder: Path, names: Sequence[str] = TOKENIZER_FILES) -> str | None:
    """The first of the names that the folder has; None where it has no tokenizer."""
    return next((name for name in names if (folder / name).is_file()), None)
