"""The sequences of a runtime as places for requests: which are free, and what those hold."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from edgellm.engines.protocol import Runtime
from edgellm.errors import EdgellmError
from edgellm.inference.generation import Request


class Cache(Protocol):
    """Knows what the sequences of a runtime hold, free ones too, so that nothing known is computed again."""

    def acquire(self, request: Request, free: Sequence[int]) -> int:
        """The one of the `free` sequences that the request is to have."""
        ...

    def reuse(self, sequence: int, request: Request) -> int:
        """Make the sequence hold the longest known beginning of the prompt, never all of it; how long it is. Within
        the request's scope and adapter. Raises EngineFailed."""
        ...

    def pause(self, sequence: int, held: int) -> int | None:
        """How much of the prompt must be held when `remember` is next called; None: all of it."""
        ...

    def remember(self, sequence: int, ids: Sequence[int], request: Request) -> None:
        """The sequence holds exactly these."""
        ...

    def forget(self, sequence: int) -> None:
        """What the sequence holds is not known any more."""
        ...


class Places:
    """`free` is in ascending order: low numbers first keep those in use together, and engines compute neighbours at
    once. Without a cache a place is empty when its request begins."""

    def __init__(self, runtime: Runtime, cache: Cache | None) -> None:
        self.free = list(range(runtime.info.sequences))
        self._runtime = runtime
        self._cache = cache

    def take(self, request: Request) -> int:
        """A free sequence, for this request."""
        sequence = self._cache.acquire(request, self.free) if self._cache else self.free[0]
        self.free.remove(sequence)
        return sequence

    def give_back(self, sequence: int) -> None:
        insort(self.free, sequence)

    def begin(self, sequence: int, request: Request) -> int:
        """How many tokens of the prompt the sequence holds now, in place of whatever it held.

        Raises what the runtime raises.
        """
        if self._cache is None:
            self._runtime.keep(sequence, 0)
            return 0
        return self._cache.reuse(sequence, request)

    def pause(self, sequence: int, held: int) -> int | None:
        """As `Cache.pause`."""
        return None if self._cache is None else self._cache.pause(sequence, held)

    def remember(self, sequence: int, ids: Sequence[int], request: Request) -> None:
        """The sequence holds these ids: some of the prompt, all of it, or an answer too."""
        if self._cache is None:
            return
        try:
            self._cache.remember(sequence, ids, request)
        except EdgellmError:
            self.empty(sequence)

    def empty(self, sequence: int) -> None:
        """After a failure: what the sequence holds is not to be trusted."""
        if self._cache is not None:
            self._cache.forget(sequence)
        with suppress(EdgellmError):  # an engine so broken says so again at the next step
            self._runtime.keep(sequence, 0)
