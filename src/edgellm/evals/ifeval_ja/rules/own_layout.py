"""Rules of ours about layout: lengths with a stated way of counting, lists, tables, labels, JSON, quotations."""

from __future__ import annotations

import json
import re
from typing import Any

from edgellm.evals.ifeval_ja.rules.rule import Rule, one_of, phrases, positive, whole_number

FENCED = re.compile(r"\A```[A-Za-z]*\n(.*?)\n?```\Z", re.DOTALL)
NUMBERED = re.compile(r"^\s*(\d+)[.．]\s*\S", re.MULTILINE)
TABLE_RULE = re.compile(r"^\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?$")
QUOTATION = re.compile("「[^「」\n]+」")


def characters(text: str, least: int = 0, most: int | None = None) -> bool:
    """White space does not count, line ends included; everything else does, punctuation included."""
    count = len("".join(text.split()))
    return count >= least and (most is None or count <= most)


def written_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def lines(text: str, count: int) -> bool:
    """Exactly so many lines that are not blank."""
    return len(written_lines(text)) == count


def line_width(text: str, most: int) -> bool:
    """No line with more characters than this; spaces within a line count."""
    return all(len(line.rstrip()) <= most for line in text.splitlines())


def sentence_count(text: str, least: int, most: int) -> bool:
    """Sentences are counted by 。！？; two marks in a row end one sentence."""
    return least <= len(re.findall("[。！？]+", text)) <= most


def bullets(text: str, marker: str, count: int) -> bool:
    """Exactly so many lines that begin with the marker."""
    return sum(1 for line in written_lines(text) if line.lstrip().startswith(marker)) == count


def only_bullets(text: str, marker: str, count: int) -> bool:
    """Exactly so many lines with the marker and no others."""
    return bullets(text, marker, count) and lines(text, count)


def numbered(text: str, count: int) -> bool:
    """Lines 1. to so many, in order, each once."""
    return [int(number) for number in NUMBERED.findall(text)] == list(range(1, count + 1))


def labels(text: str, labels: tuple[str, ...]) -> bool:
    """Each label begins a line, once, in this order."""
    found = [label for line in written_lines(text) for label in labels if line.lstrip().startswith(label)]
    return found == list(labels)


def table(text: str, columns: int, rows: int | None = None) -> bool:
    """One Markdown table with so many columns in each row, and so many rows beneath its heading."""
    body = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    if len(body) < 3 or not TABLE_RULE.match(body[1]):
        return False
    widths = {len(line.strip("|").split("|")) for line in body}
    return widths == {columns} and (rows is None or len(body) - 2 == rows)


def comma_rows(text: str, columns: int, rows: int) -> bool:
    """Nothing but so many lines of so many cells with half-width commas between them."""
    found = written_lines(without_fence(text))
    return len(found) == rows and all(len(line.split(",")) == columns for line in found)


def json_keys(text: str, keys: tuple[str, ...]) -> bool:
    """The whole answer is one JSON object with exactly these keys; a code fence may stand around it."""
    document = parsed(text)
    return isinstance(document, dict) and set(document) == set(keys)


def json_list(text: str, keys: tuple[str, ...], count: int) -> bool:
    """The whole answer is a JSON array of so many objects with exactly these keys."""
    document = parsed(text)
    if not isinstance(document, list) or len(document) != count:
        return False
    return all(isinstance(item, dict) and set(item) == set(keys) for item in document)


def quotations(text: str, count: int) -> bool:
    """At least so many quotations in 「」, with every bracket closed and no other quotation marks."""
    if text.count("「") != text.count("」") or re.search("[\"“”']", text):
        return False
    return len(QUOTATION.findall(text)) >= count


def without_fence(text: str) -> str:
    fenced = FENCED.match(text.strip())
    return fenced.group(1) if fenced else text


def parsed(text: str) -> Any:
    try:
        return json.loads(without_fence(text))
    except (ValueError, RecursionError):
        return None


MARKER = one_of("・", "-", "●", "■")
RULES = (
    Rule("edgellm:length:characters", characters, {}, {"least": whole_number, "most": whole_number}),
    Rule("edgellm:length:lines", lines, {"count": positive}),
    Rule("edgellm:length:line_width", line_width, {"most": positive}),
    Rule("edgellm:length:sentences", sentence_count, {"least": whole_number, "most": whole_number}),
    Rule("edgellm:layout:bullets", bullets, {"marker": MARKER, "count": positive}),
    Rule("edgellm:layout:only_bullets", only_bullets, {"marker": MARKER, "count": positive}),
    Rule("edgellm:layout:numbered", numbered, {"count": positive}),
    Rule("edgellm:layout:labels", labels, {"labels": phrases}),
    Rule("edgellm:layout:table", table, {"columns": positive}, {"rows": positive}),
    Rule("edgellm:layout:comma_rows", comma_rows, {"columns": positive, "rows": positive}),
    Rule("edgellm:layout:json_keys", json_keys, {"keys": phrases}),
    Rule("edgellm:layout:json_list", json_list, {"keys": phrases, "count": positive}),
    Rule("edgellm:layout:quotations", quotations, {"count": positive}),
)
