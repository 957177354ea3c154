"""Short answers in words: a name, a choice, yes or no; and words that an answer must or must not hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from edgellm.evals.checkers.outcome import Checked, broken, missed, needed, passed
from edgellm.evals.checkers.statement import conclusions, plain, stated

_BLANK = re.compile(r"\s+")
_DENIED = re.compile(
    r"^(?:さん|氏|君|くん)?(?:」|』|\))*"
    r"(?:では?な[いくか]|ではあり?ません|じゃな|でもな|の?はずがな|以外|は誤り|は間違)"
)
_QUOTES = "「」『』\"'“”‘’()[]【】<>《》"
_END = re.compile(r"(?:です|である|だ|となります|になります|でしょう)?[。.!、,]*$")


def check_text(spec: Mapping[str, Any], answer: str) -> Checked:
    """One of `accept` and none of `reject` in the statement: the line of 「答え」, else the last sentence that holds
    any of them. Compared after NFKC, without regard to case, blanks and Markdown."""
    accept, reject = _words(spec, "accept"), _words(spec, "reject")
    if not accept:
        raise broken(spec, "it accepts nothing")
    text = plain(answer)
    said = stated(text)
    places = [said, *conclusions(text)] if said is not None else conclusions(text)
    for place in places:
        line = normal(place)
        right = [word for word in accept if holds(line, word)]
        wrong = [word for word in reject if holds(line, word) and not _within(word, right, line)]
        if right and not wrong:
            return passed()
        if wrong:
            return missed(f"it states {_shown(wrong)}")
        if said is not None and place is said and _is_short(line):
            return missed(f"it states 「{place.strip()[:40]}」")
    return missed(f"it does not state {_shown(accept)}")


def check_contains(spec: Mapping[str, Any], answer: str) -> Checked:
    """Every one of `all` and none of `none`, anywhere. An entry that is a list is met by any of its words."""
    text = normal(plain(answer))
    wanted, unwanted = spec.get("all", []), _words(spec, "none")
    if not isinstance(wanted, list) or not (wanted or unwanted):
        raise broken(spec, "it names no words")
    lacking = []
    for entry in wanted:
        choices = entry if isinstance(entry, list) else [entry]
        if not any(_found(text, normal(str(word))) for word in choices):
            lacking.append("|".join(str(word) for word in choices))
    held = [word for word in unwanted if _found(text, word)]
    if lacking:
        return missed(f"it lacks {_shown(lacking)}")
    return missed(f"it holds {_shown(held)}") if held else passed()


def normal(text: str) -> str:
    """NFKC, one case, no blanks."""
    return _BLANK.sub("", unicodedata.normalize("NFKC", text)).casefold()


def holds(line: str, word: str) -> bool:
    """Whether a statement asserts the word: it holds it, as a word of its own, and not only to deny it."""
    if not word:
        return False
    if _END.sub("", line).strip(_QUOTES) == word:
        return True
    return any(not _DENIED.match(line[end:]) for end in _ends(line, word))


def _ends(line: str, word: str) -> list[int]:
    return [
        found.end() for found in re.finditer(re.escape(word), line) if _whole(line, found.start(), found.end(), word)
    ]  # fmt: skip


def _found(line: str, word: str) -> bool:
    return bool(word) and bool(_ends(line, word))


def _whole(line: str, start: int, end: int, word: str) -> bool:
    """B is not in Because, 3 not in 13; Japanese words have no such ends."""

    def letter(text: str) -> bool:
        return bool(re.match(r"[a-z0-9]", text))

    before, after = line[start - 1 : start], line[end : end + 1]
    return not (letter(word[:1]) and letter(before)) and not (letter(word[-1:]) and letter(after))


def _within(word: str, accepted: Sequence[str], line: str) -> bool:
    """Whether a rejected word stands only inside an accepted one (京都 in 東京都)."""
    for one in accepted:
        line = line.replace(one, "\0")
    return not holds(line, word)


def _is_short(line: str) -> bool:
    """A statement by itself, not the beginning of an explanation."""
    return len(line) <= 20


def _words(spec: Mapping[str, Any], name: str) -> list[str]:
    words = spec.get(name, [])
    if not isinstance(words, list):
        needed(spec, name, list)
    return [normal(str(word)) for word in words]


def _shown(words: Sequence[str]) -> str:
    return "、".join(f"「{word}」" for word in words[:3])
