"""Signs of broken Japanese: other scripts, other languages, broken characters. Each finds places in a text.

All are made to be silent on correct text: they know 々, ー, old forms of kanji, product names, code, tables and faces.
"""

from __future__ import annotations

import re
from functools import cache

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
ADDRESS = re.compile(r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.-]+")

HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+")
# Scripts that Japanese text has no use for. Single Greek and Cyrillic letters stand in formulas and faces (´Д`).
OTHER_SCRIPTS = re.compile(
    r"[\u0400-\u052f]{2,}|[\u0370-\u03ff\u1f00-\u1fff]{3,}|[\u0590-\u05ff]+|[\u0600-\u06ff\u0750-\u077f]{2,}"
    r"|[\u0900-\u0dff]+|[\u0e00-\u0eff]{2,}|[\u1780-\u17ff]+"
)
# Words of Chinese that JIS has signs for, and Japanese does not write.
CHINESE_WORDS = "你您"
# What makes a sentence without any kana Chinese rather than a Japanese heading.
CHINESE_FUNCTION_WORDS = re.compile("[是了很也她這們我他的]")
CHINESE_FOR_SURE = re.compile("[是了很也她這們我]")
JAPANESE_COMPOUNDS = re.compile(
    "是正|是非|国是|完了|終了|修了|満了|校了|未了|了解|了承|了見|我国|我慢|自我|我流|他人|其他|他社|他国"
)
KANJI = r"\u4e00-\u9fff"
KANA = re.compile(r"[ぁ-んァ-ヶ]")

ENGLISH_WORD = r"[A-Za-z][A-Za-z'’-]*"
ENGLISH_RUN = re.compile(rf"{ENGLISH_WORD}(?:[ ,;:]+{ENGLISH_WORD}){{5,}}")
# Words that make a sentence: names of products and lists of terms hardly have two of them.
ENGLISH_FUNCTION_WORDS = re.compile(
    r"(?i)\b(?:the|an?|is|are|was|were|be|been|to|of|in|on|at|for|with|by|from|that|this|these|those|it|its|and|or|but|"
    r"not|you|your|we|our|they|their|i|he|she|his|her|can|could|will|would|should|may|must|have|has|had|do|does|did|as|"
    r"if|when|which|who|what|how|there|here)\b"
)

BROKEN = re.compile(r"[\ufffd\ud800-\udfff\u0080-\u0084\u0086-\u009f\ue000-\uf8ff]")
# UTF-8 that was read as Latin-1 or Windows-1252, and as Shift_JIS: あ becomes ã\x81\x82 or ã‚, and 縺.
MISREAD = re.compile(r"(?:[ãäåæçèé][\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]{1,2}){2,}|(?:[縺繧繝][^\s縺繧繝]?){3,}")
LEAKED = re.compile(r"<0x[0-9A-Fa-f]{2}>|<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<unk>|<pad>|▁|<(?:start|end)_of_turn>")


def prose(text: str) -> str:
    """Without code and addresses, which follow rules of their own."""
    return ADDRESS.sub(" ", CODE.sub(" ", text))


@cache
def simplified() -> frozenset[str]:
    """Characters of GB 2312 that no Japanese standard has (JIS X 0208, 0213, and the IBM and NEC additions).

    So 国, 学 and 点, which both countries write, are not among them, nor are old forms of Japan that China kept, as 德
    and 黑. There are 2,617; Aozora Bunko and the statutes, 22 million characters, hold none.
    """
    found = set()
    for row in range(0xB0, 0xF8):
        for cell in range(0xA1, 0xFF):
            sign = bytes([row, cell]).decode("gb2312", "ignore")
            if sign and not writable(sign, "shift_jis_2004") and not writable(sign, "cp932"):
                found.add(sign)
    return frozenset(found)


def writable(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def chinese(text: str) -> list[str]:
    """Characters that only Chinese has, and whole sentences of Chinese that are written with common ones."""
    signs = simplified()
    body = prose(text)
    found = [sign for sign in body if sign in signs or sign in CHINESE_WORDS]
    for sentence in re.split(r"[。．.！!？?\n「」『』（）()]", body):
        kanji = re.findall(f"[{KANJI}]", sentence)
        if len(kanji) < 8 or KANA.search(sentence):
            continue
        rest = JAPANESE_COMPOUNDS.sub("", sentence)
        if len(CHINESE_FUNCTION_WORDS.findall(rest)) >= 2 and CHINESE_FOR_SURE.search(rest):
            found.append(sentence.strip())
    return found


def korean(text: str) -> list[str]:
    return HANGUL.findall(prose(text))


def other_scripts(text: str) -> list[str]:
    """Cyrillic, Greek words, Hebrew, Arabic, Indic, Thai, Khmer."""
    return OTHER_SCRIPTS.findall(prose(text))


def english_sentences(text: str) -> list[str]:
    """Runs of six and more English words that make a sentence, outside of code; names of products make none."""
    runs = (match[0] for match in ENGLISH_RUN.finditer(prose(text)))
    return [run for run in runs if len(ENGLISH_FUNCTION_WORDS.findall(run)) >= 2]


def broken_characters(text: str) -> list[str]:
    """U+FFFD, halves of characters, control and private signs, and text that was read in a wrong encoding."""
    return BROKEN.findall(text) + [match[0] for match in MISREAD.finditer(text)]


def leaked_tokens(text: str) -> list[str]:
    """Pieces of the vocabulary that are no text: `<0xE3>`, `<|im_end|>`, `▁`; outside of code."""
    return LEAKED.findall(CODE.sub(" ", text))


def ends_within_a_character(text: str) -> bool:
    """Whether the text ends in the middle of a character's bytes."""
    end = text.rstrip()
    return bool(end) and (end[-1] == "\ufffd" or "\ud800" <= end[-1] <= "\udfff" or bool(re.search(r"<0x..>\Z", end)))
