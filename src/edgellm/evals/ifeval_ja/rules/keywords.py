"""M-IFEval's rules about words that must or must not occur, and how often.

A word here is a word of the dictionary: a keyword that Janome cuts in two is never found, as in the published
program. (Rules of ours, `edgellm:words:…`, look for characters.)
"""

from __future__ import annotations

from typing import Any

from edgellm.evals.ifeval_ja import words
from edgellm.evals.ifeval_ja.rules.rule import Rule, phrases, related, relation, trimmed, whole_number

HIRAGANA_TO_KATAKANA = ord("ア") - ord("あ")


def hiragana(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not "ぁ" <= value <= "ん":
        raise ValueError("must be one hiragana letter")
    return value


def existence(text: str, keywords: tuple[str, ...]) -> bool:
    return set(keywords) <= set(words.surfaces(text))


def forbidden_words(text: str, forbidden_words: tuple[str, ...]) -> bool:
    return not set(forbidden_words) & set(words.surfaces(text))


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return related(words.surfaces(text).count(keyword), relation, frequency)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter's katakana counts with it."""
    katakana = chr(ord(letter) + HIRAGANA_TO_KATAKANA)
    return related(text.count(letter) + text.count(katakana), let_relation, let_frequency)


RULES = (
    Rule("ja:keywords:existence", existence, {"keywords": phrases}, library=words.LIBRARY),
    Rule("ja:keywords:forbidden_words", forbidden_words, {"forbidden_words": phrases}, library=words.LIBRARY),
    Rule(
        "ja:keywords:frequency", frequency, {"keyword": trimmed, "frequency": whole_number, "relation": relation},
        library=words.LIBRARY,
    ),
    Rule(
        "ja:keywords:letter_frequency", letter_frequency,
        {"letter": hiragana, "let_frequency": whole_number, "let_relation": relation},
    ),
)  # fmt: skip
