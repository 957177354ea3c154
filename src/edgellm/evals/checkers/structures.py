"""Answers with a form: JSON, lines, Markdown tables, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgellm.evals.checkers.outcome import Checked, broken, missed, needed, passed
from edgellm.evals.checkers.statement import narrow, plain, stated

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_BULLET = re.compile(r"^\s*(?:[-*+・•●○■◆▪‐–—]|\(?\d{1,3}[.)、．）:](?!\d)|[①-⑳])\s*")
_SEPARATOR = re.compile(r"^:?-+:?$")
_AMOUNT = re.compile(
    r"^[¥$]?\s*(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?)\s*(?:円|%|個|人|点|件|本|枚|台|時間|分)?$"
)
_OPENING = re.compile(r"[{\[]")
_DEEPEST = 200
MOST_TRIED = 2000  # brackets of an answer from which JSON is read


def check_json(spec: Mapping[str, Any], answer: str) -> Checked:
    """The last JSON of the answer equals `expected`; lists in any order unless `ordered`. Texts are compared after
    NFKC, numbers by value; a number is not its text."""
    if "expected" not in spec:
        raise broken(spec, "its `expected` is missing")
    found = last_json(answer)
    if found is None:
        return missed("there is no JSON in it")
    if same(found[0], spec["expected"], ordered=bool(spec.get("ordered", False))):
        return passed()
    return missed(f"its JSON is {json.dumps(found[0], ensure_ascii=False)[:200]}")


def last_json(answer: str) -> tuple[Any] | None:
    """The value of the last code block that is JSON, else of the last object or array in the text."""
    blocks = [text for _, name, text in _FENCE.findall(answer) if name.lower() in ("", "json", "json5", "jsonc")]
    for text in [answer, *reversed(blocks)]:
        try:
            return (_parsed(text.strip()),)
        except (ValueError, RecursionError):
            continue
    for start in _openings(answer):
        try:
            value, _ = json.JSONDecoder(parse_constant=_refused).raw_decode(answer, start)
        except (ValueError, RecursionError):
            continue
        return (value,)
    return None


def _openings(answer: str) -> Iterator[int]:
    """Where an object or array that is no part of another may begin, the last one first."""
    outer: list[int] = []
    place = tried = 0
    while tried < MOST_TRIED and (found := _OPENING.search(answer, place)) is not None:
        tried += 1
        try:
            _, place = json.JSONDecoder(parse_constant=_refused).raw_decode(answer, found.start())
            outer.append(found.start())
        except (ValueError, RecursionError):
            place = found.start() + 1
    return reversed(outer)


def _parsed(text: str) -> Any:
    value = json.loads(text, parse_constant=_refused)
    if not isinstance(value, (dict, list)):  # a bare word or number is no answer in JSON
        raise ValueError("a scalar")
    return value


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def same(found: Any, expected: Any, *, ordered: bool, depth: int = 0) -> bool:
    if depth > _DEEPEST:
        return False
    if isinstance(expected, dict):
        if not isinstance(found, dict) or len(found) != len(expected):
            return False
        by_name = {_text(key): value for key, value in found.items()}
        return all(
            _text(key) in by_name and same(by_name[_text(key)], value, ordered=ordered, depth=depth + 1)
            for key, value in expected.items()
        )
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        if ordered:
            return all(same(a, b, ordered=True, depth=depth + 1) for a, b in zip(found, expected, strict=True))
        left = list(found)
        for wanted in expected:
            place = next((i for i, one in enumerate(left) if same(one, wanted, ordered=False, depth=depth + 1)), None)
            if place is None:
                return False
            del left[place]
        return True
    if isinstance(expected, bool) or expected is None or isinstance(found, bool) or found is None:
        return found is expected
    if isinstance(expected, (int, float)):
        return isinstance(found, (int, float)) and math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return isinstance(found, str) and _text(found) == _text(str(expected))


def check_lines(spec: Mapping[str, Any], answer: str) -> Checked:
    """`expected` lines stand together, without further items among them; bullets and numbers of items do not count.

    In any order unless `ordered` (which it is by default).
    """
    expected = [_cell(str(one)) for one in needed(spec, "expected", list)]
    if not expected:
        raise broken(spec, "it expects no line")
    ordered = bool(spec.get("ordered", True))
    for block in _blocks(answer):
        for start in range(len(block) - len(expected), -1, -1):
            part = block[start : start + len(expected)]
            said = [line for _, line in part]
            alike = said == expected or (not ordered and sorted(said) == sorted(expected))
            if alike and not _goes_on(block, start, len(part)):
                return passed()
    return missed("the expected lines do not stand in it" + (" in this order" if ordered else ""))


def _blocks(answer: str) -> list[list[tuple[bool, str]]]:
    """(is an item, text) of lines: of each code block from the last, then of all, then of a list in one line."""
    fenced = [_lines(text) for _, _, text in reversed(_FENCE.findall(answer))]
    text = plain(_FENCE.sub(lambda found: found[3], answer))
    blocks = [*fenced, _lines(text)]
    if (said := stated(text)) is not None:
        blocks.append(_inline(said))
    else:
        whole = [line for line in text.split("\n") if line.strip()]
        blocks += [_inline(whole[-1])] if whole else []
    return blocks


def _lines(text: str) -> list[tuple[bool, str]]:
    kept = [line for line in text.split("\n") if line.strip()]
    return [(bool(_BULLET.match(line)), _cell(_BULLET.sub("", line))) for line in kept]


def _inline(line: str) -> list[tuple[bool, str]]:
    line = re.sub(r"(?:です|となります|になります)?[。.]?\s*$", "", _BULLET.sub("", line))
    return [(True, _cell(part)) for part in re.split(r"\s*(?:[、,，/／→]|->)\s*", line) if part.strip()]


def _goes_on(block: Sequence[tuple[bool, str]], start: int, count: int) -> bool:
    """Whether the list has more items before or after this part."""
    if not block[start][0]:
        return False
    return any(0 <= place < len(block) and block[place][0] for place in (start - 1, start + count))


def check_table(spec: Mapping[str, Any], answer: str) -> Checked:
    """A Markdown table whose rows are `expected`, with or without its head; rows in order unless `ordered` is false."""
    return _rows_checked(spec, tables(answer), "Markdown table")


def check_csv(spec: Mapping[str, Any], answer: str) -> Checked:
    """Rows of comma-separated values, in a code block or by themselves, that are `expected`, with or without a head."""
    return _rows_checked(spec, sheets(answer), "CSV")


def _rows_checked(spec: Mapping[str, Any], found: Sequence[list[list[str]]], name: str) -> Checked:
    rows = needed(spec, "expected", list)
    if not rows or not all(isinstance(row, list) for row in rows):
        raise broken(spec, "its `expected` is no list of rows")
    expected = [[_cell(str(value)) for value in row] for row in rows]
    if not found:
        return missed(f"there is no {name} in it")
    ordered = bool(spec.get("ordered", True))
    for table in reversed(found):
        cells = [[_cell(value) for value in row] for row in table]
        if any(_same_rows(part, expected, ordered=ordered) for part in (cells, cells[1:])):
            return passed()
    return missed(f"its {name} has other rows: {json.dumps(found[-1], ensure_ascii=False)[:200]}")


def _same_rows(found: list[list[str]], expected: list[list[str]], *, ordered: bool) -> bool:
    return found == expected if ordered else sorted(found) == sorted(expected)


def tables(answer: str) -> list[list[list[str]]]:
    """Cells of every Markdown table, without its line of dashes."""
    found: list[list[list[str]]] = []
    inside = False
    for line in answer.split("\n"):
        text = line.strip()
        if "|" not in text:
            inside = False
            continue
        if not inside:
            found.append([])
        inside = True
        cells = [part.replace("\\|", "|").strip() for part in re.split(r"(?<!\\)\|", text.strip("|"))]
        if not all(_SEPARATOR.match(cell) for cell in cells):
            found[-1].append(cells)
    return [table for table in found if len(table) > 1 or (table and len(table[0]) > 1)]


def sheets(answer: str) -> list[list[list[str]]]:
    """Rows of every code block with commas, else of every run of lines with commas."""
    blocks = [text for _, name, text in _FENCE.findall(answer) if name.lower() in ("", "csv", "text", "txt")]
    texts = [text for text in blocks if "," in narrow(text)]
    if not texts:
        run: list[str] = []
        for line in [*answer.split("\n"), ""]:
            if "," in line:
                run.append(line)
            elif run:
                texts.append("\n".join(run))
                run = []
    return [
        [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if any(cell.strip() for cell in row)]
        for text in texts
    ]  # fmt: skip


def _text(value: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", value)).strip()


def _cell(value: str) -> str:
    """A cell or line to compare: without Markdown, blanks and the signs of an amount of money."""
    text = _text(re.sub(r"\*\*|__|`|<br\s*/?>", "", value)).rstrip("。")
    return found[1].replace(",", "") if (found := _AMOUNT.match(text)) else text
