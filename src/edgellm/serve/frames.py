"""Server-sent events: a record as one event, and the events of a stream that differ in their text alone."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import BaseModel

DONE = b"data: [DONE]\n\n"
MARK = "\ue000"  # stands for the text while a frame is made; of no length that matters, and in no other field
json_text = json.JSONEncoder(ensure_ascii=False).encode


def event(record: BaseModel) -> bytes:
    """One server-sent event. JSON escapes line ends, so one data line holds it."""
    return f"data: {record.model_dump_json()}\n\n".encode()


def named_event(name: str, record: BaseModel) -> bytes:
    """An event that says its type beside its data, as `/v1/responses` has them."""
    return f"event: {name}\ndata: {record.model_dump_json()}\n\n".encode()


class Frames:
    """Events with one text in them: the record is serialised once, later ones put their text into it.

    That is a hundredth of the work of serialising each, which counts where every token of every stream is one.
    """

    def __init__(self, make: Callable[[tuple[str, int, int], str], bytes]) -> None:
        """`make` gives the whole event of a kind with a text."""
        self._make = make
        self._known: dict[tuple[str, int, int], tuple[str, str]] = {}

    def event(self, kind: tuple[str, int, int], text: str) -> str:
        known = self._known.get(kind)
        if known is None:
            head, _, tail = self._make(kind, MARK).decode().partition(f'"{MARK}"')
            known = self._known[kind] = (head, tail)
        return f"{known[0]}{json_text(text)}{known[1]}"
