"""The input of one `llama_decode`, made once and refilled through numpy for every step."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edgellm.engines.protocol import Feed


class Batch:
    """A `llama_batch` whose arrays belong to numpy: filling it costs a few slice assignments a feed."""

    def __init__(self, capacity: int, context_tokens: int) -> None:
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._wanted = np.zeros(capacity, np.int8)
        # The same memory for single tokens: what numpy does for one number takes longer than the number.
        self._each_token = self._tokens.data
        self._each_position = self._positions.data
        self._each_sequence = self._sequences.data
        self._each_wanted = self._wanted.data
        self._counting = np.arange(context_tokens, dtype=np.int32)
        # Every token belongs to exactly one sequence, so these two are never written again.
        self._sequence_counts = np.ones(capacity, np.int32)
        self._sequence_pointers = (
            self._sequences.ctypes.data + np.arange(capacity, dtype=np.uintp) * self._sequences.itemsize
        ).astype(np.uintp)
        self.struct = llama_cpp.llama_batch(
            token=_pointer(self._tokens, ctypes.c_int32),
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._sequence_counts, ctypes.c_int32),
            seq_id=_pointer(self._sequence_pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def fill(self, feeds: Sequence[Feed], ids: NDArray[np.int64], held: Sequence[int]) -> None:
        """Describe `feeds`, whose ids stand one after another in `ids` (tokens,), after what is `held`."""
        self._tokens[: len(ids)] = ids
        start = 0
        for feed in feeds:
            count = len(feed.ids)
            end = start + count
            first = held[feed.sequence]
            self._positions[start:end] = self._counting[first : first + count]
            self._sequences[start:end] = feed.sequence
            self._wanted[start:end] = feed.logits == "all"
            if feed.logits == "last":
                self._wanted[end - 1] = 1
            start = end
        self.struct.n_tokens = start

    def fill_singles(self, feeds: Sequence[Feed], held: Sequence[int]) -> None:
        """The same for feeds of one token each whose logits are wanted."""
        for place, feed in enumerate(feeds):
            self._each_token[place] = feed.ids[0]
            self._each_position[place] = held[feed.sequence]
            self._each_sequence[place] = feed.sequence
            self._each_wanted[place] = 1
        self.struct.n_tokens = len(feeds)


def _pointer(array: NDArray[Any], item: type[Any]) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(item))
