"""M-IFEval's rules about the kinds of letters."""

from __future__ import annotations

import re
from unicodedata import category

from edgellm.evals.ifeval_ja.rules.rule import Rule, related, relation, whole_number

KANJI = "[\u4e00-\u9faf]"  # without 々 and the extensions, as published
RUN = re.compile(f"{KANJI}+")
READ_RUN = re.compile(f"{KANJI}+（[ぁ-ん]+）")
HIRAGANA = re.compile("[ぁ-ゖ]")
KATAKANA = re.compile("[ァ-ヺｦ-ﾟ]")
ALLOWED_IN_HIRAGANA = re.compile("[ぁ-んー]")
ALLOWED_IN_KATAKANA = re.compile("[ァ-ンー・ｦ-ﾟ]")


def furigana(text: str) -> bool:
    """As many runs of kanji with a reading in full-width brackets as there are runs of kanji."""
    return len(RUN.findall(text)) == len(READ_RUN.findall(text))


def kanji(text: str, kanji_limit: int, relation: str) -> bool:
    return related(len(re.findall(KANJI, text)), relation, kanji_limit)


def kansuuji(text: str) -> bool:
    """No digit of any script, full-width ones included."""
    return re.search(r"\d", text) is None


def no_hiragana(text: str) -> bool:
    return HIRAGANA.search(text) is None


def no_katakana(text: str) -> bool:
    """The long-vowel mark ー and the dot ・ are no katakana here."""
    return KATAKANA.search(text) is None


def only(allowed: re.Pattern[str], text: str) -> bool:
    """Every letter is allowed; what is no letter (digits, punctuation, spaces, emoji) always is."""
    return all(allowed.match(character) or not category(character).startswith("L") for character in text)


def hiragana_only(text: str) -> bool:
    return only(ALLOWED_IN_HIRAGANA, text)


def katakana_only(text: str) -> bool:
    return only(ALLOWED_IN_KATAKANA, text)


RULES = (
    Rule("ja:letters:furigana", furigana),
    Rule("ja:letters:hiragana_only", hiragana_only),
    Rule("ja:letters:kanji", kanji, {"kanji_limit": whole_number, "relation": relation}),
    Rule("ja:letters:kansuuji", kansuuji),
    Rule("ja:letters:katakana_only", katakana_only),
    Rule("ja:letters:no_hiragana", no_hiragana),
    Rule("ja:letters:no_katakana", no_katakana),
)
