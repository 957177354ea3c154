"""M-IFEval's rules about marks and layout that a program can find."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from edgellm.evals.ifeval_ja import words
from edgellm.evals.ifeval_ja.rules.rule import Rule, trimmed, whole_number

# A mark may stand alone on its line with its text on the next one: what follows the mark may be the line's end.
BULLET = re.compile(r"^\s*・[^・].*$", re.MULTILINE)
NUMBERED = re.compile(r"^\s*\d+\.\s.*$", re.MULTILINE)
HIGHLIGHT = re.compile(r"《([^\n《》]*)》")
TITLE = re.compile(r"『[^\n]+』")
PLACEHOLDER = re.compile(r"\[.*?\]")
QUOTED = re.compile(r"「.*?」"), re.compile(r"『.*?』")  # within a line
FENCES = "```json", "```Json", "```JSON", "```"  # each is taken off once, in this order
ANSWERS = "はい、そうです。", "いいえ、違います。", "どちらとも言えません。"
POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}  # other markers stand for themselves


def section_mark(value: Any) -> str:
    """Taken as a pattern, as in the published program."""
    mark = trimmed(value)
    try:
        re.compile(mark)
    except re.error as error:
        raise ValueError("must be a word such as 章") from error
    return mark


def constrained_response(text: str) -> bool:
    """One of the three answers occurs, whatever else is said."""
    return any(answer in text for answer in ANSWERS)


def json_format(text: str) -> bool:
    body = text.strip()
    for fence in FENCES:
        body = body.removeprefix(fence)
    try:
        json.loads(body.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"第\d+{section_spliter}", text)) >= num_sections


def nominal_ending(text: str, count: int) -> bool:
    """Sentences whose last word before 。！？ is a noun; quotations are taken out first."""
    cut = words.words(without_quotations(text))
    return sum(1 for last, end in pairwise(cut) if last.noun and end.surface in "。！？") >= count


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    return len(BULLET.findall(text)) == num_bullets


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    return sum(1 for inside in HIGHLIGHT.findall(text) if inside.strip()) >= num_highlights


def number_numbered_lists(text: str, num_items: int) -> bool:
    return len(NUMBERED.findall(text)) == num_items


def title(text: str) -> bool:
    return any(found.lstrip("『").rstrip("』").strip() for found in TITLE.findall(text))


def number_placeholders(text: str, num_placeholders: int) -> bool:
    return len(PLACEHOLDER.findall(text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    pattern = POSTSCRIPTS.get(postscript_marker, re.escape(postscript_marker))
    return re.search(pattern, text, re.IGNORECASE) is not None


def without_quotations(text: str) -> str:
    for quoted in QUOTED:
        text = quoted.sub("", text)
    return text


RULES = (
    Rule("ja:detectable_content:number_placeholders", number_placeholders, {"num_placeholders": whole_number}),
    Rule("ja:detectable_content:postscript", postscript, {"postscript_marker": trimmed}),
    Rule("ja:detectable_format:constrained_response", constrained_response),
    Rule("ja:detectable_format:json_format", json_format),
    Rule(
        "ja:detectable_format:multiple_sections", multiple_sections,
        {"section_spliter": section_mark, "num_sections": whole_number},
    ),
    Rule("ja:detectable_format:nominal_ending", nominal_ending, {"count": whole_number}, library=words.LIBRARY),
    Rule("ja:detectable_format:number_bullet_lists", number_bullet_lists, {"num_bullets": whole_number}),
    Rule(
        "ja:detectable_format:number_highlighted_sections", number_highlighted_sections,
        {"num_highlights": whole_number},
    ),
    Rule("ja:detectable_format:number_numbered_lists", number_numbered_lists, {"num_items": whole_number}),
    Rule("ja:detectable_format:title", title),
)  # fmt: skip
