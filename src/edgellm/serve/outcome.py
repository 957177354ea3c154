"""What became of one request: what metrics count and the audit log writes down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Ending = Literal["answered", "refused", "failed", "abandoned"]


@dataclass(frozen=True)
class Outcome:
    """Times are in seconds from the arrival of the request's head; None where it did not come that far."""

    request_id: str
    endpoint: str  # the path
    caller: str
    model: str  # "" where it was refused before a model was chosen
    ending: Ending
    status: int
    arrived: float  # Unix time in seconds
    e2e_s: float
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float | None = None
    ttft_s: float | None = None
    decode_s: float | None = None  # from the first token to the last
    finish_reason: str = ""
    error: str = ""
    prompt: str = ""  # text, for logs that were told to keep it
    answer: str = ""
    person: str = ""  # on whose behalf the caller asked, where it says so


Observer = Callable[[Outcome], None]
