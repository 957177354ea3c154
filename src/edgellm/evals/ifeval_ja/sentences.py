"""Sentences: as M-IFEval counts them, and as our own rules do."""

from __future__ import annotations

import re

# --- M-IFEval: the count that ja-sentence-segmenter 0.0.2 comes to with the settings of the published program, worked
# out here without making the sentences. Spaces that it removes matter only where they would stand alone as a sentence,
# or between a closing の and the end of its line.
ENDS = "。!?"
_AS_ONE_WIDTH = str.maketrans("！？（）｡｢｣\u3000", "!?()。「」 ")
_ASCII_LINE_END = "\n\r\x0b\x0c\x1c\x1d\x1e"
_LOST_SPACE = re.compile(
    f"(?<=[{ENDS}の]) +(?=[{_ASCII_LINE_END}])|(?<=[{ENDS}]) +(?=[{ENDS}])|(?<=[{_ASCII_LINE_END}]) +(?=[{ENDS}の])"
)
_SHIELD = "∯"  # the segmenter's own mark; a text that has it is treated as the segmenter would
_END = re.compile(f"(?<!{_SHIELD})[{ENDS}](?!{_SHIELD})")
_ENCLOSED = re.compile(r"「[^「」]*」"), re.compile(r"\([^()]*\)")
_GOES_ON = re.compile(r".の\Z", re.DOTALL)


def published_count(text: str) -> int:
    """Sentences of a text, as M-IFEval counts them.

    A line is a sentence or several: one ends after each 。 ! or ? that stands neither within 「」 nor within (), and
    what is left at the line's end is one more. A line that ends in の goes on in the next one. Empty lines are none.
    """
    folded = _LOST_SPACE.sub("", text.strip().translate(_AS_ONE_WIDTH))
    total, pending = 0, None
    for line in folded.splitlines():
        if pending is not None and _GOES_ON.search(pending):
            pending += line
        else:
            total += _in_line(pending or "")
            pending = line
    return total + _in_line(pending or "")


def _in_line(line: str) -> int:
    for enclosed in _ENCLOSED:
        line = enclosed.sub(lambda found: _END.sub(rf"{_SHIELD}\g<0>{_SHIELD}", found.group()), line)
    ends = [found.end() for found in _END.finditer(line)]
    return len(ends) + (not ends or ends[-1] < len(line)) if line else 0


# --- Ours: what ends with 。！？!? is a sentence; other lines (addresses, headings, items) are none. A text that has no
# such mark at all is taken line by line, without list marks and headings.
_QUOTED = re.compile(r"「[^「」]*」|『[^『』]*』|（[^（）]*）")
_ENDED = re.compile(r"([^。！？!?\n]+)[。！？!?]")
_LIST_MARK = re.compile(r"^\s*(?:[・*+>-]|\d+[.．)）、]|[一二三四五六七八九十]+、|[（(]\d+[)）])\s*")
_HEADING = re.compile(r"^\s*(?:#|[【■●◆].*|.*[:：]\s*$)")


def sentences(text: str) -> list[str]:
    """The sentences without what ends them; quotations and remarks in full-width brackets are taken out."""
    plain = _without_quotations(text)
    ended = [found.strip() for found in _ENDED.findall(plain)]
    if not ended:
        ended = [_LIST_MARK.sub("", line).strip() for line in plain.splitlines() if not _HEADING.match(line)]
    return [sentence for sentence in ended if sentence]


def _without_quotations(text: str) -> str:
    while (shorter := _QUOTED.sub("", text)) != text:  # from the innermost outwards
        text = shorter
    return text
