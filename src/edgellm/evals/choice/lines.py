"""Reading other people's JSON, JSONL and CSV, so that an error names the file and the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.store import json_lines

Row = tuple[str, dict[str, Any]]  # where it stands (for errors), and what it holds


def read_text(path: Path) -> str:
    """A UTF-8 file without its byte-order mark; raises BadInput if it is missing, empty or not UTF-8."""
    text = json_lines.text_of(path)
    if not text.strip():
        raise BadInput(f"{path} is empty; give a file with at least one item")
    return text


def json_rows(path: Path, text: str) -> Iterator[Row]:
    """The objects of a JSONL file, or of a JSON document that is a list, a list under one key (`results`, `records`,
    `questions`, `data`) or an object of objects by id."""
    if text.lstrip().startswith("["):
        yield from listed_rows(path, parsed(path, text))
        return
    try:
        whole = json.loads(text)
    except ValueError:
        yield from line_rows(path, text)
        return
    keys = [key for key in ("results", "records", "questions", "data") if isinstance(whole.get(key), list)]
    if keys:
        yield from listed_rows(path, whole[keys[0]])
    elif all(isinstance(value, dict) for value in whole.values()):
        yield from ((f"{path} entry {key!r}", {"id": key, **value}) for key, value in whole.items())
    else:
        yield f"{path} line 1", whole  # JSONL of one line


def parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} line {error.lineno} is not valid JSON ({error.msg}); mend it") from None


def listed_rows(path: Path, entries: list[Any]) -> Iterator[Row]:
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise BadInput(f"{path} entry {number} is no JSON object; each entry must be one")
        yield f"{path} entry {number}", entry


def line_rows(path: Path, text: str) -> Iterator[Row]:
    """Lines end at U+000A alone: U+2028 and U+0085 may stand in JSON strings."""
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}, line {number}"
        if line.strip():
            yield where, json_lines.row_of(line, where)


def csv_rows(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV file that are not blank; quoted cells may hold commas and line ends."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInput(f"{path} line {line} is not valid CSV ({error}); mend its quotes") from None
        if any(cell.strip() for cell in cells):
            yield f"{path} line {line}", cells


def headed_rows(path: Path, text: str) -> Iterator[Row]:
    """The rows of a CSV file whose first row names the columns."""
    rows = csv_rows(path, text)
    _, header = next(rows)
    names = [name.strip() for name in header]
    for where, cells in rows:
        if len(cells) != len(names):
            raise BadInput(f"{where} has {len(cells)} cells where the first row names {len(names)}; mend it")
        yield where, dict(zip(names, cells, strict=True))


def text_of(where: str, entry: Mapping[str, Any], key: str) -> str:
    """A string of an entry that may not be blank; raises BadInput."""
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{where} has no text under {key!r}; write one")
    return value
