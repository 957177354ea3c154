"""Answers that were promised for later, and for a while after they have come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edgellm.records.gennai import Accepted, Progress, Status, StatusError, UsageMetadata

WAIT = "回答を作成しています。しばらくしてから、もう一度確認してください。"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Promise:
    """One answer, from the moment its request came."""

    caller: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    progress: Progress = "PENDING"
    text: Callable[[], str] = str  # gives the answer as far as it has come
    usage: list[UsageMetadata] | None = None
    error: str = ""
    ended: float | None = None  # on the monotonic clock

    def grew(self) -> None:
        self.progress, self.updated_at = "IN_PROGRESS", now()

    def end(self, progress: Progress, *, error: str = "", usage: list[UsageMetadata] | None = None) -> None:
        self.progress, self.error, self.usage = progress, error, usage
        self.updated_at, self.ended = now(), time.monotonic()

    def accepted(self) -> Accepted:
        return Accepted(outputs=WAIT, request_id=self.id, status_url=f"/status/{self.id}")

    def status(self) -> Status:
        said = {
            "PENDING": "順番を待っています", "IN_PROGRESS": "回答を作成しています",
            "COMPLETED": "回答が終わりました", "ERROR": "回答できませんでした",
        }  # fmt: skip
        return Status(
            status=self.progress,
            progress=said[self.progress],
            request_id=self.id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            outputs=self.text(),
            error=StatusError(message=said["ERROR"], details=self.error) if self.error else None,
            usageMetadata=self.usage,
        )


class Promises:
    """Those of every caller; each has a number of its own, so that nobody's answers make way for another's."""

    def __init__(self, kept_s: float, most_kept: int) -> None:
        self._kept_s = kept_s
        self._most_kept = most_kept
        self._promises: dict[str, Promise] = {}  # by id, oldest first

    def keep(self, promise: Promise) -> None:
        """Where the caller has too many that have come, the oldest of them makes way. Those still to come stay:
        the queue bounds them."""
        self._drop_old()
        self._promises[promise.id] = promise
        own = [each for each in self._promises.values() if each.caller == promise.caller and each.ended is not None]
        for each in own[: max(0, len(own) - self._most_kept)]:
            del self._promises[each.id]

    def find(self, id: str, caller: str) -> Promise | None:
        self._drop_old()
        promise = self._promises.get(id)
        return promise if promise is not None and promise.caller == caller else None

    def _drop_old(self) -> None:
        limit = time.monotonic() - self._kept_s
        for each in [each for each in self._promises.values() if each.ended is not None and each.ended < limit]:
            del self._promises[each.id]
