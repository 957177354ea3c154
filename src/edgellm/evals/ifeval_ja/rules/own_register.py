"""Rules of ours about politeness, words and characters."""

from __future__ import annotations

import re
import unicodedata

from edgellm.evals.ifeval_ja.rules.rule import Rule, one_of, phrases, positive, whole_number
from edgellm.evals.ifeval_ja.sentences import sentences

# What may follow the verb or copula at the end of a sentence.
AFTER = "(?:か|ね|よ|よね|が|けど|けれど|から|ので|し)?"
POLITE = re.compile(
    "(?:です|ます|でした|ました|ません|ませんでした|でしょう|ましょう|ください|下さい|くださいませ|ませ|ございます)"
    rf"{AFTER}$"
)
HONORIFIC = {
    "尊敬語": re.compile(
        "いらっしゃ[いらりるっ]|おっしゃ[いらりるっ]|召し上が[らりるっ]|ご覧(?:に|くだ)|なさ[いらりるっ]"
        "|お越し|くださ[いらりるっ]|お見えに"
    ),
    "謙譲語": re.compile(
        "伺[いうえおわっ]|うかが[いうえわっ]|いただ[いきくけ]|頂[いきくけ]|申し(?:上げ|ま)|拝[見聞読借受領]|お目にかか"
        "|いたし|致し|参[りる]|まいり|存じ|差し上げ|承[りる]"
    ),
}
SMALL_KANA = re.compile("[ぁぃぅぇぉゃゅょゎ]")  # ゃ and its like belong to the kana before them; っ counts as one


def polite(text: str) -> bool:
    found = sentences(text)
    return bool(found) and all(POLITE.search(sentence) for sentence in found)


def plain(text: str) -> bool:
    found = sentences(text)
    return bool(found) and not any(POLITE.search(sentence) for sentence in found)


def honorific(text: str, kind: str, count: int) -> bool:
    """At least so many forms of the kind, wherever they stand."""
    return len(HONORIFIC[kind].findall(text)) >= count


def forbidden(text: str, words: tuple[str, ...]) -> bool:
    """None of the words, as runs of characters; half-width katakana are taken as full-width ones."""
    folded = unicodedata.normalize("NFKC", text)
    return not any(unicodedata.normalize("NFKC", word) in folded for word in words)


def required(text: str, words: tuple[str, ...], times: int = 1) -> bool:
    """Each of the words at least so often, as runs of characters."""
    return all(text.count(word) >= times for word in words)


def morae(text: str, pattern: tuple[int, ...]) -> bool:
    """Hiragana in groups between spaces or line ends, with so many morae each, as 五・七・五."""
    groups = text.split()
    if not all(re.fullmatch("[ぁ-ゖー]+", group) for group in groups):
        return False
    return tuple(len(SMALL_KANA.sub("", group)) for group in groups) == pattern


def begins(text: str, phrase: str) -> bool:
    return text.strip().startswith(phrase)


def ends(text: str, phrase: str) -> bool:
    return text.strip().endswith(phrase)


def numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of whole numbers")
    return tuple(positive(item) for item in value)


def one_phrase(value: object) -> str:
    return phrases([value])[0]


RULES = (
    Rule("edgellm:register:polite", polite),
    Rule("edgellm:register:plain", plain),
    Rule("edgellm:register:honorific", honorific, {"kind": one_of(*HONORIFIC), "count": whole_number}),
    Rule("edgellm:words:forbidden", forbidden, {"words": phrases}),
    Rule("edgellm:words:required", required, {"words": phrases}, {"times": positive}),
    Rule("edgellm:words:morae", morae, {"pattern": numbers}),
    Rule("edgellm:startend:begins", begins, {"phrase": one_phrase}),
    Rule("edgellm:startend:ends", ends, {"phrase": one_phrase}),
)
