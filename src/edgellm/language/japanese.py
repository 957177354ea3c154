"""Measures of Japanese text.

A **character** here is a Unicode code point. Japanese is written with one code point a character but for
combining voicing marks, variation selectors and emoji sequences, and code points need no table: grapheme
clusters change with every Unicode version, so two machines could count the same text differently.
"""

from __future__ import annotations

import re

# Hiragana, katakana with phonetic extensions and half-width forms, kana of the supplementary plane.
_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"
# 々〆〇, unified ideographs with extensions A and B onwards, compatibility ideographs.
_KANJI = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JAPANESE = re.compile(f"[{_KANA}{_KANJI}]")
_VISIBLE = re.compile(r"\S")


def characters(text: str) -> int:
    """Number of characters (Unicode code points), spaces and line breaks included."""
    return len(text)


def utf8_bytes(text: str) -> int:
    """Length in bytes of UTF-8."""
    return len(text.encode("utf-8"))


def japanese_share(text: str) -> float:
    """Share of kana and kanji among the characters that are not white space, 0 to 1; 0 for blank text."""
    visible = len(_VISIBLE.findall(text))
    return len(_JAPANESE.findall(text)) / visible if visible else 0.0
