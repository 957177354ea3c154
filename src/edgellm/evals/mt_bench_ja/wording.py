"""What the linter knows of Japanese text: punctuation, half-width kana, words that point back, and nearness."""

from __future__ import annotations

import re
from collections.abc import Set

NEARNESS_CHARACTERS = 5
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
HIRAGANA = re.compile(r"[ぁ-ゖ]")
QUOTED = re.compile(r"「[^「」]*」|『[^『』]*』")
SENTENCE_END = re.compile(r"[。？！\n]")
HALF_WIDTH_KANA = re.compile(r"[\uff61-\uff9f]+")
WESTERN_STOPS = re.compile(r"(?<!\d)[，．]|[，．](?!\d)")  # between digits they are part of a figure
JAPANESE_STOPS = re.compile(r"[、。]")
JAPANESE = r"[\u3001-\u303f\u3041-\u30ff\u3400-\u9fff\uff01-\uff60]"
# One that touches a Japanese character. Signs that belong to figures and units (% / - + °) may touch one.
ASCII_PUNCTUATION = re.compile(rf"(?<={JAPANESE})[,.!?:;()\"'~&]|[,.!?:;()\"'~&](?={JAPANESE})")

MADE = "挙げ|あげ|書い|示し|示され|述べ|作っ|説明し|出し|選ん|考え|答え|求め|並べ|使っ|対比し|流し|まとめ|決め"
# What an answer or a question of the first turn may be called.
KEPT = (
    "メール|内訳|見積もり|返事|返信|せりふ|手紙|答え|回答|説明|文章|文面|文|案|質問|問い|問|指示|計算|結果|表|一覧|CSV|JSON|"
    "関数|コード|プログラム|式|条件|結論|形式|形"
)
COUNTED = "[一二三四五六七八九1-9１-９]つ"
# Forms that point at an earlier answer wherever they stand. `先の` and `前の` after a kanji end another word
# (取引先の, 午前の); 今の世 and the like point at the present day.
POINTS_BACK = re.compile(
    "|".join(
        [
            r"先ほど", r"さきほど", r"さっき", rf"前回の(?:{KEPT})", r"上記", r"たったいま",
            r"あなたの(?:答え|回答|説明)",
            r"いまの(?!世|時代|日本|制度|法律|季節|気温|暮らし|ところ|うちに)", rf"今の(?:{KEPT})",
            rf"(?:いま|今)(?:{MADE})",
            r"(?<![\u3400-\u9fff])(?<!の)先の", rf"(?<![\u3400-\u9fff])先に(?:{MADE})",
            rf"(?<![\u3400-\u9fff])前の(?:{KEPT})", r"(?<![\u3400-\u9fff])前と(?:は違う|同じ)",
            rf"(?:最初|はじめ|初め|元|もと|上)の(?:{KEPT}|発言|通知|場面)",
            rf"(?:{MADE})て(?:もらった|いただいた|くれた|くださった)", r"これまで(?:どおり|の)", r"(?:修正|変更)後の",
        ]
    )
)  # fmt: skip
# These point back where the thing that they name was not named before in the same turn.
POINTS_AT_THING = re.compile(rf"(?:この|その|同じ|{COUNTED}目の|残りの(?:{COUNTED}の)?)\s?({KEPT})")
# Demonstratives, and words that compare with what was: only where nothing of the same turn comes before them.
DEMONSTRATIVE = re.compile(
    r"それ(?!ぞれ|以外|なり)|その(?!まま|つど|うえ|他|ほか|場)|そこ(?!そこ)|そちら|そう(?:した|いう|する)|"
    r"これ(?!から)|この(?!たび|ところ|頃|ごろ|年度|国|世)|ここ(?:まで|から|で)|あの|"
    rf"同じ|今度は|ほかの|{COUNTED}の(?:うち|中|案)"
)


def prose(text: str) -> str:
    """The lines of running Japanese: without code, and without rows of data and quoted data, which hold no hiragana."""
    quoted = QUOTED.sub(lambda found: found.group() if HIRAGANA.search(found.group()) else "", CODE.sub("", text))
    return "\n".join(line for line in quoted.split("\n") if HIRAGANA.search(line))


def half_width_kana(text: str) -> str:
    """The first run of it, "" where there is none."""
    found = HALF_WIDTH_KANA.search(text)
    return found.group() if found else ""


def ascii_punctuation(text: str) -> str:
    """The first sign that touches running Japanese, with what stands around it; "" where there is none."""
    running = prose(text)
    found = ASCII_PUNCTUATION.search(running)
    return running[max(0, found.start() - 5) : found.end() + 5] if found else ""


def stops(text: str) -> tuple[int, int]:
    """How often running Japanese has 、。 and how often ，．."""
    running = prose(text)
    return len(JAPANESE_STOPS.findall(running)), len(WESTERN_STOPS.findall(running))


def points_back(text: str) -> str:
    """The words by which a second turn leans on the first answer; "" where it could be asked alone.

    What is quoted does not count, since it points at something inside the quotation. A demonstrative counts where it
    has nothing of its own turn to point at: in the first sentence, or before a thing that the turn named nowhere yet.
    """
    own = unquoted(CODE.sub("", text))
    if found := POINTS_BACK.search(own) or DEMONSTRATIVE.search(first_sentence(own)):
        return found.group()
    return next((f.group() for f in POINTS_AT_THING.finditer(own) if f[1] not in own[: f.start()]), "")


def unquoted(text: str) -> str:
    """Without quotations, nested ones too."""
    while (rest := QUOTED.sub("", text)) != text:
        text = rest
    return text


def first_sentence(text: str) -> str:
    return next((part for part in SENTENCE_END.split(text) if part.strip()), "")


def pieces(text: str) -> Set[str]:
    """Every run of five characters, white space left out."""
    dense = "".join(text.split())
    return frozenset(dense[i : i + NEARNESS_CHARACTERS] for i in range(len(dense) - NEARNESS_CHARACTERS + 1))


def nearness(one: Set[str], other: Set[str]) -> float:
    """Jaccard's index of two texts' `pieces`: 1 for the same text, 0 where they share no run of five characters."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0
