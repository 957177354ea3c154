"""One request to a scheduler and what comes back from it, handed from the decode thread to whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Literal

from edgellm.errors import EdgellmError
from edgellm.inference.chat import SamplingOptions

EndReason = Literal["stop", "length", "cancelled", "failed"]


@dataclass(frozen=True)
class Request:
    """Token ids to go on from. `stop_ids` end the answer (the one that does is its last token)."""

    ids: Sequence[int]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_tokens: int | None = None  # None: until the context is full
    stop_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False  # go on past `stop_ids`, for benchmarks that need a fixed length
    adapter: str | None = None  # the LoRA adapter to answer with


@dataclass(frozen=True)
class End:
    """The last item of every generation; `error` is there where the reason is "failed"."""

    reason: EndReason
    error: EdgellmError | None = None


Item = int | End
Listener = Callable[[Item], None]


class Generation:
    """A running request. Iterate it for token ids as they come, or give `submit` a listener for the items.

    Iterating raises EngineFailed if the engine failed, and simply ends after a cancel.
    """

    def __init__(self, request: Request, listener: Listener | None, wake: Callable[[], None]) -> None:
        self.request = request
        self.prompt_tokens = len(request.ids)
        self.completion_tokens = 0
        self.end: End | None = None
        self.cancelled = False
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._listener = listener or self._items.put
        self._wake = wake

    @property
    def finish_reason(self) -> EndReason | None:
        """None while it runs."""
        return self.end.reason if self.end else None

    def cancel(self) -> None:
        """Give up the request; its place is free after the step that runs now. Harmless after the end."""
        self.cancelled = True
        self._wake()

    def __iter__(self) -> Iterator[int]:
        while True:
            item = self._items.get()
            if isinstance(item, End):
                self._items.put(item)  # so that iterating once more ends as well
                if item.error is not None:
                    raise item.error
                return
            yield item

    def deliver(self, item: Item) -> None:
        """Called by the scheduler, on its thread. A listener that raises has lost interest: that cancels."""
        if isinstance(item, End):
            self.end = item
        else:
            self.completion_tokens += 1
        try:
            self._listener(item)
        except Exception:
            self.cancelled = True
