"""Which requests a scheduler takes: the checks before the queue, and how long one that finds it full should wait.

A scheduler and its stand-in in another process share them, so that both refuse in the same words, at once.
"""

from __future__ import annotations

import math

from edgellm.engines.protocol import RuntimeInfo
from edgellm.errors import PromptTooLong, QueueFull, UsageError
from edgellm.inference.generation import Request
from edgellm.inference.sampling import check_ranges, check_top_logprobs

SMOOTHING = 0.2  # weight of the newest request in the running mean of service times


def check_request(request: Request, info: RuntimeInfo) -> None:
    """Raises UsageError for a request that can never be met: PromptTooLong where no token fits after the prompt."""
    check_ranges(request.sampling, info.vocab_tokens)
    check_top_logprobs(request.top_logprobs)
    if not request.ids:
        raise UsageError("the prompt is empty; give at least one token")
    if len(request.ids) >= info.context_tokens:
        raise PromptTooLong(
            f"the prompt has {len(request.ids)} tokens, {len(request.ids) - info.context_tokens + 1} too many: the "
            f"context of {info.context_tokens} must hold prompt and answer; shorten the prompt or start with a larger "
            "--context"
        )
    if min(request.ids) < 0 or max(request.ids) >= info.vocab_tokens:
        raise UsageError(f"the prompt holds token ids outside the vocabulary of {info.vocab_tokens}")
    if request.adapter is not None and request.adapter not in info.adapters:
        raise UsageError(f"there is no adapter {request.adapter!r} here; load it with --lora")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise UsageError(f"max_tokens is {request.max_tokens}; it must be 1 or more")


class ServiceTime:
    """How long requests hold their places: a running mean, in seconds."""

    def __init__(self) -> None:
        self._mean_s = 0.0

    def note(self, served_s: float) -> None:
        self._mean_s += SMOOTHING * (served_s - self._mean_s) if self._mean_s else served_s

    def queue_full(self, places: int, waiting: int) -> QueueFull:
        """The refusal. A place frees about every mean service time / places."""
        retry_after_s = max(1, min(60, math.ceil(self._mean_s / places)))
        return QueueFull(f"{places} requests are being answered and {waiting} wait; try again later", retry_after_s)
