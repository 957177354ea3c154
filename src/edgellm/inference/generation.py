"""One request to a scheduler and what comes back from it, handed from the decode thread to whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Literal, NamedTuple, Protocol

from edgellm.engines.protocol import Logits, RuntimeInfo
from edgellm.errors import EdgellmError, EngineFailed
from edgellm.inference.chat import SamplingOptions, TokenLogprob
from edgellm.inference.constraint import Constraint

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
    user: str = ""  # who asks: the scheduler is fair between users, and first come first served within one
    cache_scope: str = ""  # prompts that were computed are only ever reused within one scope
    # Where a later prompt is likely to go another way, in tokens: before what asks for the answer, for one.
    checkpoints: tuple[int, ...] = ()
    top_logprobs: int | None = None  # how many likely tokens to tell beside each drawn one; None: no log probabilities
    constraint: Constraint | None = None  # what the answer must look like


@dataclass(frozen=True)
class Timing:
    """Where the time of one request went, in seconds, and what it did not have to compute."""

    queue_s: float  # from submit to the first step that read its prompt
    prompt_s: float  # from there to its first token
    decode_s: float  # from the first token to the last
    cached_tokens: int = 0  # of the prompt, taken from the prefix cache
    drafted_tokens: int = 0  # proposed by speculation
    accepted_tokens: int = 0  # of them, those that were what the model would have drawn


@dataclass(frozen=True)
class End:
    """The last item of every generation; `error` is there where the reason is "failed"."""

    reason: EndReason
    error: EdgellmError | None = None
    timing: Timing | None = None  # None where no step was run for it


# A drawn token: its id alone, or with log probabilities where the request asked for them.
Item = int | TokenLogprob | End
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
                    raise item.error.again()
                return
            yield item.token if isinstance(item, TokenLogprob) else item

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


class SchedulerState(NamedTuple):  # made after every step
    """What a scheduler does at this moment, and what it has done since it began."""

    sequences: int
    running: int
    waiting: int
    steps: int
    widest_step: int  # the most requests served by one step
    prompt_tokens: int  # computed, without those taken from the prefix cache
    completion_tokens: int
    failed_steps: int
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


class Generations(Protocol):
    """Whatever answers requests: a `Scheduler` in this process, or one in a process of its own."""

    @property
    def info(self) -> RuntimeInfo: ...

    @property
    def failure(self) -> EngineFailed | None:
        """Why it answers no more; None while it does."""
        ...

    def submit(self, request: Request, listener: Listener | None = None) -> Generation:
        """Queue a request. `listener`, where given, gets every item on a thread that it must not block.

        Raises UsageError (PromptTooLong if no token would fit after the prompt), QueueFull, and EngineFailed
        if the engine is dead or closed.
        """
        ...

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """As `Runtime.embed`, between two steps."""
        ...

    def state(self) -> SchedulerState: ...

    def close(self, patience_s: float | None = None) -> bool:
        """End after the step that runs now; requests under way end with EngineFailed. False if it still runs."""
        ...
