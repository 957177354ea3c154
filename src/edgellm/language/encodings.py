"""Text files in the encodings that Japanese offices have: which one it is, and no nonsense."""

from __future__ import annotations

import codecs
import re

from edgellm.errors import BadInput

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OLDER = ("cp932", "euc_jp")  # CP932 is Shift_JIS as Windows has it, with ① and ㈱
# What no text holds: control characters but tab, line ends and page breaks, private use, and what is no character.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffe\uffff]")
_COMMON = re.compile(r"[\u3000-\u301f\u3041-\u3096\u30a1-\u30fc\uff01-\uff5e]")
_OTHER = re.compile(r"[^\x00-\x7f]")
_MOST_RARE = 0.25  # share of rare characters among those beyond ASCII. Novels and minutes have less than 0.1.


def decode_japanese(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 with a byte order mark, Shift_JIS (CP932) or EUC-JP.

    Raises BadInput where none of them gives a text: the bytes of one encoding are often valid in another, so what is
    valid but no Japanese is refused as well.
    """
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return only(decoded(data, encoding))
    text = decoded(data, "utf-8")
    if text is not None:
        return only(text)
    found = [(rare_share(text), text) for text in (decoded(data, each) for each in OLDER) if text is not None]
    share, text = min(found, default=(1.0, None))
    return only(text if share <= _MOST_RARE else None)


def decoded(data: bytes, encoding: str) -> str | None:
    """None if the bytes are not valid in it, or give what no text holds."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if _NO_TEXT.search(text) else text


def only(text: str | None) -> str:
    if text is None:
        raise BadInput("it is not text in UTF-8, Shift_JIS or EUC-JP; save it as UTF-8 and send it again")
    return text


def rare_share(text: str) -> float:
    """How many of the characters beyond ASCII are neither kana, nor full-width signs, nor kanji of the first level
    of JIS X 0208 (2,965 kanji for daily use). Text read in a wrong encoding is mostly half-width kana and rare kanji.
    """
    others = _OTHER.findall(text)
    common = sum(1 for each in others if _COMMON.match(each) or first_level(each))
    return 1 - common / len(others) if others else 0.0


def first_level(character: str) -> bool:
    """Rows 16 to 47 of the standard."""
    try:
        code = character.encode("euc_jp")
    except UnicodeEncodeError:
        return False
    return len(code) == 2 and 0xB0 <= code[0] <= 0xCF
