"""What an answer to an exam question is: the letters, or the number, after `【回答】`.

The **strict** reading is that of JMLE2026-Bench, so that its published points come out: the first mark, one line,
letters a–e that stand alone between commas and spaces, numbers as they are written. The **lenient** one also takes
full-width letters, letters written together, the last of several marks, and numbers of the same value.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

MARKED = re.compile(r"【回答】\s*(.+)")
DECORATION = re.compile(r"[*_`#]")
SEPARATORS = re.compile(r"[,、\s]+")
LETTERS_ALONE = re.compile(r"[\s(]*[a-e](?:[\s,、・.)(と&/]*[a-e])*[\s.)。]*(?:です。?)?", re.IGNORECASE)
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")


def strictly(text: str, *, calculation: bool) -> tuple[str, ...]:
    """Letters in order, or the number as written, after the first mark; () where there are none.

    A text that is nothing but letters, or a number, is an answer too: some files hold those alone.
    """
    marked = MARKED.search(text)
    if marked is None:
        return alone(text, calculation=calculation)
    stated = marked[1].strip()
    if calculation:
        return (stated,)
    tokens = SEPARATORS.split(DECORATION.sub("", stated).strip())
    return tuple(sorted({token.lower() for token in tokens if re.fullmatch("[a-eA-E]", token)}))


def leniently(text: str, *, calculation: bool) -> tuple[str, ...]:
    """The same by what was meant: after the last mark, in whatever width and with whatever is around it."""
    marks = list(MARKED.finditer(text))
    stated = DECORATION.sub("", unicodedata.normalize("NFKC", marks[-1][1] if marks else text)).strip()
    if calculation:
        numbers = NUMBER.findall(stated) if marks else []
        return (numbers[0].replace(",", ""),) if numbers else alone(text, calculation=True)
    if not marks:
        return alone(stated, calculation=False)
    begun = LETTERS_ALONE.match(stated)
    if begun is None or re.match("[a-z]", stated[begun.end() :], re.IGNORECASE):
        return ()
    return letters(begun[0])


def alone(text: str, *, calculation: bool) -> tuple[str, ...]:
    plain = DECORATION.sub("", text).strip()
    if calculation:
        return (plain,) if NUMBER.fullmatch(plain) else ()
    return letters(plain) if LETTERS_ALONE.fullmatch(plain) else ()


def letters(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(re.findall("[a-e]", text.replace("です", "").lower()))))


def same_number(one: str, other: str) -> bool:
    """Whether two texts are numbers of the same value, whatever zeros they end with."""
    try:
        return Decimal(unicodedata.normalize("NFKC", one).replace(",", "")) == Decimal(other.replace(",", ""))
    except InvalidOperation:
        return False
