"""敬体 (です・ます) and 常体 (だ・である): how each sentence ends, and whether a text keeps to one of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from edgellm.evals.register_ja.detectors import prose

Style = Literal["polite", "plain"]

QUOTED = re.compile(r"「[^「」]*」|『[^『』]*』|（[^（）]*）|\([^()]*\)")
SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]?")
LIST_MARK = re.compile(r"^\s*(?:[-*・●○■◆▪#>|]|\d{1,2}[.)．）]|[①-⑳])")
ASIDES = re.compile(r"(?:よね|ね|よ|か|な|わ|ぞ|さ|けれど|けど|が|から|ので|し)+$")
POLITE = re.compile(
    r"(?:です|ます|でした|ました|ません|ませんでした|でしょう|ましょう|ください|下さい|なさい|ございます|いたします|願います|ませ)$"
)
# Ends of verbs and adjectives in the plain style, and its copula. Nouns (体言止め) are of neither.
PLAIN = re.compile(
    r"(?:である|であろう|だろう|ではない|じゃない|ない|よう|[うくぐすつぬぶむる]|(?<!あな)(?<!ま)(?<!か)た|(?<!ま)(?<!た)だ|"
    r"[かがさたなまらわざばしきじすくよ\u4e00-\u9fff]い)$"
)
# Words that end like plain verbs or adjectives and are none.
NEITHER = re.compile(
    r"(?:[違思扱払伝向祝舞願匂占呪問誓戦争狙笑憩救疑習誘]い|くらい|ぐらい|ありがとう|おはよう|さようなら|"
    r"[一二三四五六七八九0-9０-９]つ|とおり|ため|こと|もの|はい|いいえ)$"
)
ENOUGH = 4  # sentences that end in one of the two ways, for anything to be said
LEAST_SHARE = 0.75  # of the commoner one
LEAST_SHARE_OF_WANTED = 0.8


@dataclass(frozen=True)
class Endings:
    polite: int
    plain: int

    @property
    def share(self) -> float:
        """Of the commoner style; 1 where no sentence is of either."""
        total = self.polite + self.plain
        return max(self.polite, self.plain) / total if total else 1.0


def ending(sentence: str) -> Style | None:
    """The style of a sentence without quotes, None for a noun at its end and for what cannot be told."""
    core = re.sub(r"[。！？!?\s♪☆…〜~ー」』）)]+$", "", QUOTED.sub("", sentence))
    for form in (core, ASIDES.sub("", core)):
        if POLITE.search(form):
            return "polite"
        if NEITHER.search(form):
            return None
        if PLAIN.search(form):
            return "plain"
    return None


def endings(text: str) -> Endings:
    """Over the sentences of running text that end in 。！？: lists and headings often end otherwise, rightly."""
    body = QUOTED.sub(lambda part: part[0].replace("。", " ").replace("\n", " "), prose(text))
    found: Counter[str] = Counter()
    for line in body.split("\n"):
        if LIST_MARK.match(line):
            continue
        for sentence in SENTENCE.findall(line):
            if sentence[-1] in "。！？!?" and (style := ending(sentence)):
                found[style] += 1
    return Endings(found["polite"], found["plain"])


def mixed_styles(text: str) -> bool:
    """Whether a text goes to and fro between the two. One sentence of the other kind is no fault."""
    found = endings(text)
    few = min(found.polite, found.plain)
    return found.polite + found.plain >= ENOUGH and few >= 2 and found.share < LEAST_SHARE


def other_style(text: str, wanted: Style) -> bool:
    """Whether a text is not in the style that was asked for."""
    found = endings(text)
    total = found.polite + found.plain
    own = found.polite if wanted == "polite" else found.plain
    return total >= 2 and own / total < LEAST_SHARE_OF_WANTED
