"""What `edgellm tokenize` prints for one text."""

from __future__ import annotations

from edgellm.records.base import Record


class TokenizedText(Record):
    """Exact ids with their pieces; the last two are None where the engine has no vocabulary of its own."""

    ids: list[int]
    tokens: list[str]
    engine_ids: list[int] | None = None
    agrees: bool | None = None
