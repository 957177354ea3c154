"""What a multiple-choice question is, whatever file it comes from."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgellm.store import digest

OWN_ITEMS = Path(__file__).resolve().parent / "data" / "items.jsonl"
NUMBERS = "123456789"
CAPITALS = "ABCDEFGHI"
SMALL = "abcdefghi"
MOST_CHOICES = len(NUMBERS)


@dataclass(frozen=True)
class ChoiceItem:
    """One question with one right answer; `labels` are what the choices are called, one character each."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int  # index into `choices`
    category: str = ""
    labels: str = NUMBERS

    def label(self, index: int) -> str:
        return self.labels[index]


def labels_for(choices: Sequence[str]) -> str:
    """Numbers, but letters where a choice is itself a number: else nobody could tell `答えは3` of the one from the
    other."""
    numbers = any(unicodedata.normalize("NFKC", choice)[:1].isdigit() for choice in choices)
    return CAPITALS if numbers else NUMBERS


def items_digest(items: Sequence[ChoiceItem]) -> str:
    """SHA-256 of all that the items hold, whatever file format they were read from."""
    return digest.of_value([asdict(item) for item in items])


def by_id(items: Sequence[ChoiceItem]) -> Mapping[str, ChoiceItem]:
    return {item.id: item for item in items}
