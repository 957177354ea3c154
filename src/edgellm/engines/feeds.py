"""What every engine checks before a step, so that a mistake gets the same sentence from all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.protocol import Feed, RuntimeInfo
from edgellm.errors import UsageError


def checked_ids(feeds: Sequence[Feed], held: Sequence[int], info: RuntimeInfo) -> NDArray[np.int64]:
    """The ids of all feeds in one row of shape (tokens,), once every rule of `Runtime.step` holds.

    `held[s]` is the number of tokens that sequence s holds before the step. Raises UsageError as
    `Runtime.step` promises.
    """
    flat: list[int] = []
    seen: set[int] = set()
    for feed in feeds:
        _check_sequence(feed, seen, held, info)
        seen.add(feed.sequence)
        flat.extend(feed.ids)
    if len(flat) > info.step_tokens:
        raise UsageError(
            f"one step takes at most {info.step_tokens} tokens and was given {len(flat)}; "
            "feed the rest in further steps"
        )
    return _token_array(flat, info.vocab_tokens)


def check_prompts(prompts: Sequence[Sequence[int]], info: RuntimeInfo) -> None:
    """Raises UsageError as `Runtime.embed` promises."""
    if not info.embedding_width:
        raise UsageError(
            "this model gives no embeddings: its file does not say how to pool them; take an embedding model"
        )
    for place, prompt in enumerate(prompts):
        if not len(prompt):
            raise UsageError(f"text {place} has no tokens, so there is nothing to embed; leave it out")
        if len(prompt) > info.context_tokens:
            raise UsageError(
                f"text {place} has {len(prompt)} tokens, but the context holds {info.context_tokens}; "
                "shorten it or start with a larger --context"
            )
        _token_array(list(prompt), info.vocab_tokens)


def check_number(sequence: int, sequences: int) -> None:
    """Raises UsageError unless `sequence` names one of the `sequences` that the runtime was opened with."""
    if not 0 <= sequence < sequences:
        raise UsageError(
            f"there is no sequence {sequence}: this runtime was opened with {sequences}, numbered from 0; "
            "open it with more sequences"
        )


def rows_wanted(feed: Feed) -> int:
    """How many rows of logits a feed asks for."""
    return {"none": 0, "last": 1, "all": len(feed.ids)}[feed.logits]


def _check_sequence(feed: Feed, seen: set[int], held: Sequence[int], info: RuntimeInfo) -> None:
    check_number(feed.sequence, info.sequences)
    if feed.sequence in seen:
        raise UsageError(f"sequence {feed.sequence} is fed twice in one step; join its tokens into one feed")
    if feed.logits not in ("none", "last", "all"):
        raise UsageError(f"logits can be wanted for 'none', 'last' or 'all' tokens, not for {feed.logits!r}")
    if feed.adapter is not None and feed.adapter not in info.adapters:
        raise UsageError(f"there is no adapter {feed.adapter!r} here; open the model with it")
    count = len(feed.ids)
    if count == 0:
        raise UsageError(f"sequence {feed.sequence} is fed no tokens; leave it out of the step instead")
    if held[feed.sequence] + count > info.context_tokens:
        raise UsageError(
            f"sequence {feed.sequence} holds {held[feed.sequence]} tokens and cannot take {count} more in a "
            f"context of {info.context_tokens}; shorten the text or open the model with more context"
        )


def _token_array(flat: list[int], vocab_tokens: int) -> NDArray[np.int64]:
    if not flat:
        return np.empty(0, dtype=np.int64)
    try:
        ids = np.asarray(flat)
    except ValueError:  # lists inside the list
        ids = np.asarray(flat, dtype=object)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        # Not whole numbers at all, or ones that no 64-bit integer holds.
        odd = [each for each in flat if not isinstance(each, (int, np.integer)) or abs(each) >= 2**63]
        raise UsageError(f"a token id is a whole number from 0 to {vocab_tokens - 1}, not {(odd or flat)[0]!r}")
    outside = ids[(ids < 0) | (ids >= vocab_tokens)]
    if outside.size:
        raise UsageError(
            f"token id {outside[0]} is not in this model's vocabulary of {vocab_tokens}; "
            "tokenize with the model's own tokenizer"
        )
    return ids.astype(np.int64, copy=False)
