"""Reading a user's text and JSONL files, so that what is wrong is told with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput

BYTE_ORDER_MARK = "\ufeff"  # files that were put together from several hold it in their middle too


def text_of(path: Path) -> str:
    """A UTF-8 file without its byte-order mark; raises BadInput if it is missing, a folder, or not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}, line {line} is not UTF-8; save the file as UTF-8") from None


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of each line of a JSONL file that is not empty; raises BadInput.

    Lines end at a line feed alone: other line ends of Unicode may stand inside a string.
    """
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield number, row_of(line, f"{path}, line {number}")


def row_of(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no JSON ({error}); correct or remove it") from None
    if not isinstance(row, dict):
        raise BadInput(f"{where} is no JSON object; correct or remove it")
    return row
