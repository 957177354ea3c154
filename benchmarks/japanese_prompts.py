"""Japanese prompts of a given length, no two with the same beginning, from the texts that ship with edgellm."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import edgellm
from edgellm.language.tokenizer import Tokenizer

TEXTS = Path(edgellm.__file__).parent / "texts"


def japanese_text() -> str:
    folders = [TEXTS / "calibration", TEXTS / "verification"]
    names = [path for f in folders for path in sorted(f.glob("*.txt")) if path.stem not in ("code", "english")]
    return "\n".join(path.read_text(encoding="utf-8") for path in names)


def prompts(tokenizer: Tokenizer, tokens: int, seed: int = 0) -> Iterator[list[int]]:
    """Endless prompts of exactly `tokens` ids. A running number at the start sets each apart from all others, so that
    no server can take one from its prefix cache."""
    text = japanese_text()
    dice = random.Random(seed)
    number = 0
    while True:
        number += 1
        start = dice.randrange(len(text) - 8 * tokens)
        ids = tokenizer.encode(f"第{number + 1000 * seed}の文。{text[start : start + 8 * tokens]}")
        if len(ids) >= tokens:
            yield ids[:tokens]
