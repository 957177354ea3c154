"""How much an answer holds: characters, lines, items, sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from edgellm.evals.checkers.outcome import Checked, broken, missed, passed

_BULLET = re.compile(r"^\s*(?:[-*+・•●○■◆▪]|\(?[0-9０-９]{1,3}[.)．）、]|[①-⑳])\s*\S")
_MARKUP = re.compile(r"\*\*|__|`|^\s{0,3}#{1,6}\s+", re.M)
_BRACKETED = re.compile(r"「[^「」]*」|『[^『』]*』|（[^（）]*）|\([^()]*\)")
_SENTENCE_END = re.compile(r"[。．！？!?]+")


def characters(answer: str) -> int:
    """As a reader counts them: composed, without blanks, line ends and Markdown."""
    return len(re.sub(r"\s", "", unicodedata.normalize("NFC", _MARKUP.sub("", answer))))


def lines(answer: str) -> int:
    return sum(1 for line in answer.split("\n") if line.strip())


def bullets(answer: str) -> int:
    """Items of lists, with signs or numbers."""
    return sum(1 for line in answer.split("\n") if _BULLET.match(line))


def sentences(answer: str) -> int:
    """Ends of sentences outside brackets; a line without one at its end counts as a sentence, a heading does not."""
    total = 0
    for line in answer.split("\n"):
        if re.match(r"\s{0,3}#{1,6}\s", line):
            continue
        text = line
        while (shorter := _BRACKETED.sub("*", text)) != text:
            text = shorter
        total += sum(1 for part in _SENTENCE_END.split(text) if part.strip(" \t\u3000-*・」』)）"))
    return total


_COUNTS: Mapping[str, Callable[[str], int]] = {
    "characters": characters, "lines": lines, "bullets": bullets, "sentences": sentences,
}  # fmt: skip


def check_count(spec: Mapping[str, Any], answer: str) -> Checked:
    """`what` lies between `min` and `max`, of which one may be missing."""
    count = _COUNTS.get(str(spec.get("what")))
    least, most = spec.get("min"), spec.get("max")
    if count is None:
        raise broken(spec, f"it counts {spec.get('what')!r}; what can be counted is {', '.join(_COUNTS)}")
    if least is None and most is None:
        raise broken(spec, "it has neither `min` nor `max`")
    if any(isinstance(end, bool) or not isinstance(end, (int, type(None))) for end in (least, most)):
        raise broken(spec, "`min` and `max` must be whole numbers")
    found = count(answer.strip())
    if (least is None or found >= least) and (most is None or found <= most):
        return passed()
    return missed(f"it has {found} {spec['what']}, not {'' if least is None else least}–{'' if most is None else most}")
