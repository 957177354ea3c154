"""M-IFEval's rules about how long an answer is and how it is divided."""

from __future__ import annotations

import re

from edgellm.evals.ifeval_ja.rules.rule import Rule, phrase, positive, related, relation, whole_number
from edgellm.evals.ifeval_ja.sentences import published_count

DIVIDER = re.compile(r"\s?\*\*\*\s?")


def number_letters(text: str, num_letters: int, relation: str) -> bool:
    """Every code point counts, spaces and line ends too."""
    return related(len(text), relation, num_letters)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return related(published_count(text), relation, num_sentences)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Between dividers `***`; blank before the first and after the last is allowed, in between it is not."""
    blank = [not part.strip() for part in DIVIDER.split(text)]
    if any(blank[1:-1]):
        return False
    return len(blank) - blank[0] - blank[-1] == num_paragraphs


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Paragraphs stand between empty lines. Blank ones are not counted, but the nth is found among all."""
    parts = text.split("\n\n")
    count = sum(1 for part in parts if part.strip())
    if count != num_paragraphs or nth_paragraph > count:
        return False
    return parts[nth_paragraph - 1].strip().lstrip("「").lstrip("『").startswith(first_word.lower())


RULES = (
    Rule("ja:length_constraints:number_letters", number_letters, {"num_letters": whole_number, "relation": relation}),
    Rule(
        "ja:length_constraints:number_sentences", number_sentences,
        {"num_sentences": whole_number, "relation": relation},
    ),
    Rule("ja:length_constraints:number_paragraphs", number_paragraphs, {"num_paragraphs": whole_number}),
    Rule(
        "ja:length_constraints:nth_paragraph_first_word", nth_paragraph_first_word,
        {"num_paragraphs": whole_number, "nth_paragraph": positive, "first_word": phrase},
    ),
)  # fmt: skip
