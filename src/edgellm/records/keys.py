"""API keys as a file holds them, and what a key may ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgellm.records.base import Record

# Letters of any script; no white space and nothing that a log or a shell would read otherwise.
NAME = r"^[\w.@+-]{1,64}$"

Limit = Annotated[int, Field(ge=1)]


class KeyLimits(Record):
    """What one key may ask for; None is no limit."""

    requests_per_minute: Limit | None = None
    concurrent_requests: Limit | None = None
    output_tokens_per_minute: Limit | None = None


class KeyRecord(KeyLimits):
    """One key: `hash` is the SHA-256 of the bytes of `salt` followed by the key in UTF-8."""

    name: str = Field(pattern=NAME)
    salt: str = Field(pattern=r"^([0-9a-f]{2})+$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    created: AwareDatetime | None = None
    expires: AwareDatetime | None = None
