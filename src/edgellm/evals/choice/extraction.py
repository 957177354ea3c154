"""Which choice an answer in words names. Where it names several, the last that is stated as the answer counts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from edgellm.evals.choice.items import CAPITALS, NUMBERS, SMALL, ChoiceItem, labels_for

KATAKANA = "アイウエオカキクケ"
HIRAGANA_ROW = "あいうえおかきくけ"
KANJI_NUMBERS = "一二三四五六七八九"
FAMILIES = (NUMBERS, CAPITALS, SMALL, KATAKANA, HIRAGANA_ROW, KANJI_NUMBERS)

# What says "the answer is"; what follows is read as a label or as a choice's own words.
STATING = re.compile(
    r"(?:最終(?:的な)?回答|正解|正答|答え|解答|回答|final answer|correct answer|answer)"
    r"(?:の(?:選択肢|番号|記号))?[」』】*_]*(?:[はが]|\s*[:=]|\s+is\b)?[\s:=、,]*|\\boxed\{",
    re.IGNORECASE,
)
# What says of the label before it that it is the answer.
STATED_AFTER = re.compile(
    r"\s*(?:番|つ目)?[)\].」』】]*\s*(?:が|を)\s*(?:正し(?!くな)|(?:正解|正答|適切)(?!で(?:は)?な|じゃな)|最も|選(?!ばな|べな))"
)
CONCLUDING = re.compile(r"(?:したがって|よって|ゆえに|以上(?:より|から)|つまり|therefore|thus)[、,\s]*", re.IGNORECASE)
OPENING = re.compile(r"[\s「『(\[<*_`\"'{【]*(?:選択肢|番号|記号)?(?:は|の)?[\s「『(\[*_`\"'{]*(?:text\{)?")
DENIED = re.compile(r"[\s」』)\]*_`\"'番]*(?:では|じゃ|で(?=はな))(?:なく|ない|あり|ありません)")


def normalised(text: str) -> str:
    """NFKC, which turns １, Ａ, ①, ⓐ, ㋐ and ｱ into 1, A, 1, a, ア and ア."""
    return unicodedata.normalize("NFKC", text)


def stated_choice(answer: str, item: ChoiceItem) -> int | None:
    """The index of the choice that an answer settles on, or None where it settles on none.

    In this order: the last statement ("答えは3", "正解：イ", "【回答】c", "選択肢2が正しい", \\boxed{4}); a last or
    first line that is nothing but a label, with or without its choice's words; the one choice whose words the answer
    holds. A label that is denied ("1ではなく") is none.
    """
    text = normalised(answer).strip()
    stated = [place for place in statements(text, item) if place is not None]
    if stated:
        return max(stated)[1]
    lines = [line for line in text.split("\n") if line.strip()]
    for line in [*lines[-1:], *lines[:1]]:
        if (found := bare(line, item)) is not None:
            return found
    return only_quoted(text, item)


def statements(text: str, item: ChoiceItem) -> Iterator[tuple[int, int] | None]:
    """(place in the text, index of the choice) of everything that is stated as the answer."""
    for mark in [*STATING.finditer(text), *CONCLUDING.finditer(text)]:
        begin = mark.end()
        opening = OPENING.match(text, begin)
        at = opening.end() if opening else begin
        yield named_at(text, at, item, concluding=mark.re is CONCLUDING)
    for label in re.finditer(r"[1-9A-Ia-iア-ケあ-け]", text):
        if STATED_AFTER.match(text, label.end()):
            yield named_at(text, label.start(), item, after=True)


def named_at(
    text: str, at: int, item: ChoiceItem, *, concluding: bool = False, after: bool = False
) -> tuple[int, int] | None:
    """The choice that a label or a choice's words at this place name."""
    index = label_at(text, at, item)
    length = 1
    words = longest_choice_at(text, at, item)
    # The item's own labels go before a choice's words, those before labels of other kinds: 「答えは3」 of the choices
    # A to D is the choice that reads 3.
    if words is not None and not (index is not None and text[at] in normalised(item.labels[: len(item.choices)])):
        index, length = words, len(normalised(item.choices[words]))
    if index is None or DENIED.match(text, at + length):
        return None
    if concluding and words is None and not re.match(r"[\s)\].」』]*(?:番|です|となり|$|。|\.)", text[at + length :]):
        return None  # 「よって3日後に」 names no choice
    if text[at] in "aI" and re.match(r" [a-z]", text[at + 1 :]):
        return None  # an English article or pronoun
    if not after and words is None and re.match(r"\s*(?:つ[^目]|個|人|日|回|年|円|%|点|種)", text[at + length :]):
        return None  # 「答えは2つ」 counts
    return at, index


def label_at(text: str, at: int, item: ChoiceItem) -> int | None:
    """The index of the choice that the label at this place names; None within a longer word or number."""
    if at >= len(text):
        return None
    sign = text[at]
    own = normalised(item.labels)
    families = [own, *(family for family in FAMILIES if family != own)]
    if own != NUMBERS and labels_for(item.choices) != NUMBERS:  # a number is then a choice's words, or none of them
        families = [family for family in families if family not in (NUMBERS, KANJI_NUMBERS)]
    family = next((f for f in families if sign in f), None)
    if family is None or family.index(sign) >= len(item.choices):
        return None
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if same_kind(sign, before) or same_kind(sign, after) or (sign.isdigit() and re.match(r"[.,]\d", text[at + 1 :])):
        return None
    return family.index(sign)


def same_kind(sign: str, beside: str) -> bool:
    """Whether a neighbour makes one word or number of both."""
    if not beside:
        return False
    if sign.isdigit():
        return beside.isdigit()
    if sign.isascii():
        return beside.isascii() and beside.isalpha()
    if sign in KATAKANA:
        return "ァ" <= beside <= "ー"
    if sign in KANJI_NUMBERS:
        return "一" <= beside <= "鿿" and beside != "番"
    return "ぁ" <= beside <= "ん"  # 「い」 needs its brackets


def longest_choice_at(text: str, at: int, item: ChoiceItem) -> int | None:
    """The choice whose whole words stand at this place; the longest, for one may begin with another."""
    found = [i for i, choice in enumerate(item.choices) if text.startswith(normalised(choice), at)]
    return max(found, key=lambda i: len(item.choices[i]), default=None)


def bare(line: str, item: ChoiceItem) -> int | None:
    """The choice of a line that is a label, or a choice, and nothing else but marks and です."""
    opened = re.sub(r"^[\s「『(\[*_`\"'【]*(?:選択肢)?\s*", "", line)
    core = re.sub(r"(?:です|番|。|[\s」』)\]*_`\"'】.:])+$", "", opened)
    if len(core) == 1 and (index := label_at(core, 0, item)) is not None:
        return index
    texts = [normalised(choice).rstrip("。") for choice in item.choices]
    for words in (opened.strip().rstrip("。"), core):  # 交番 ends as 3番 does
        if words in texts:
            return texts.index(words)
        named = re.match(r"(\S)[\s.:)\]]+(.+)", words)
        index = label_at(words, 0, item) if named else None
        if named and index is not None and named[2].strip("「」『』() ") == texts[index]:
            return index
    return None


def only_quoted(text: str, item: ChoiceItem) -> int | None:
    """The one choice whose words the text holds; None where it holds those of several, or of none."""
    spans = {i: spans_of(text, normalised(choice)) for i, choice in enumerate(item.choices)}
    held = [
        i for i, own in spans.items()
        if any(not inside_other(span, i, spans) for span in own)
    ]  # fmt: skip
    return held[0] if len(held) == 1 else None


def spans_of(text: str, words: str) -> list[tuple[int, int]]:
    return [(m.start(), m.end()) for m in re.finditer(re.escape(words), text)]


def inside_other(span: tuple[int, int], own: int, spans: dict[int, list[tuple[int, int]]]) -> bool:
    """Whether a longer choice holds this one at the place: 東京都 holds 東京 and 京都."""
    return any(
        begin <= span[0] and span[1] <= end and end - begin > span[1] - span[0]
        for other, places in spans.items() if other != own
        for begin, end in places
    )  # fmt: skip
