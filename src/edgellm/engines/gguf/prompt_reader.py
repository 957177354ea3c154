"""Prompts read with a second set of weights, where that takes less time.

As it loads a model, llama.cpp rearranges weights of some types for the processor. Single tokens are computed sooner
then, and prompts later: of a Q4_K_M file one token takes 0.8 times as long, and one of a prompt 1.3 times
(docs/design/prompt_reader.md). The weights as the file holds them cost no memory but that of the file's pages, so
prompts are read with these, in a context for one sequence, and what that leaves behind is handed over to the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import llama_cpp
import numpy as np

from edgellm.engines.feeds import rows_wanted
from edgellm.engines.gguf import library
from edgellm.engines.gguf.batch import Batch
from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.loading import GgufOptions, load_model, make_context
from edgellm.engines.gguf.sequence_state import read_state, write_state
from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import EngineFailed

# Types that llama.cpp rearranges so that prompts are read more slowly; of others there is nothing to be gained.
REARRANGED = ("Q4_K",)
LEAST_SHARE = 0.3  # of the bytes of all weights that must be of these types
LEAST_GAIN = 1.1
WORTH_TOKENS = 64  # pieces from which it pays to bring a sequence here
WORTH_DEPTH = 4  # times as many tokens as are to be read may be brought here for it
SHORTEST = 24  # tokens; shorter pieces are read sooner with weights that were rearranged
# A state of llama.cpp's begins with whole numbers: two, that of streams (one for each sequence of its context), and for
# each stream how many tokens it holds, before what they are; all streams but one are empty. `reader_trial` finds out
# whether it still does.
WORD, STREAMS = np.dtype("<u4"), 2


class PromptReader:
    """Holds one sequence at a time; `sequence` is its number in the context for which it reads, None for none."""

    def __init__(self, header: Header, options: GgufOptions, context_tokens: int, vocab_tokens: int) -> None:
        """Raises what loading a model raises, and EngineFailed without room."""
        self.sequence: int | None = None
        self._vocab_tokens = vocab_tokens
        self._model = load_model(header, options, rearranged=False)
        try:
            own = replace(options, sequences=1)
            self._context = make_context(header.path, self._model, own, context_tokens)
        except BaseException:
            llama_cpp.llama_model_free(self._model)
            raise
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = Batch(own.step_tokens, context_tokens)
        self._held = 0

    def read(self, feed: Feed, ids: Any) -> Logits:
        """The logits of a feed of the sequence that is held, or of one that begins.

        Raises EngineFailed, and holds what it held before.
        """
        self._batch.fill([Feed(0, feed.ids, feed.logits)], ids, [self._held])
        library.log.clear()
        if code := llama_cpp.llama_decode(self._context, self._batch.struct):
            self.keep(self._held)
            raise EngineFailed(f"llama.cpp could not read a prompt ({code}: {library.log.reason()}); ask again")
        self.sequence, self._held = feed.sequence, self._held + len(feed.ids)
        rows = rows_wanted(feed)
        if not rows:
            return np.empty((0, self._vocab_tokens), np.float32)
        pointer = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(rows, self._vocab_tokens))

    def keep(self, tokens: int) -> None:
        """Forget all but so many tokens of what is held."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, tokens, -1)
        self._held = tokens
        if not tokens:
            self.sequence = None

    def state_bytes(self) -> int:
        """How long the state of what is held is."""
        return int(llama_cpp.llama_state_seq_get_size(self._context, 0))

    def fetch(self, context: Any, sequence: int, tokens: int, sequences: int) -> bool:
        """Hold what a sequence of the other context holds, of so many tokens; False where llama.cpp refuses."""
        self.keep(0)
        state = read_state(context, sequence)
        words = state[: WORD.itemsize * (STREAMS + 1 + sequences)].view(WORD)
        before = int(np.flatnonzero(words[STREAMS + 1 :])[0])  # streams that are empty
        words[before : before + STREAMS] = words[:STREAMS].copy()
        words[before + STREAMS] = 1
        start, end = WORD.itemsize * before, len(state) - WORD.itemsize * (sequences - 1 - before)
        if not write_state(self._context, 0, state[start:end]):
            self.keep(0)
            return False
        self.sequence, self._held = sequence, tokens
        return True

    def hand_over(self, context: Any, sequences: int) -> bool:
        """Let the other context hold the sequence, in place of what it held of it; False where llama.cpp refuses."""
        state = read_state(self._context, 0, spare=WORD.itemsize * (sequences - 1))
        state[: WORD.itemsize * (STREAMS + 1)].view(WORD)[STREAMS] = sequences
        taken = self.sequence is not None and write_state(context, self.sequence, state)
        self.keep(0)
        return taken

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def worth_trying(header: Header) -> bool:
    """Whether enough of a file's weights are of types that this is about."""
    sizes = {True: 0, False: 0}
    for tensor in header.tensors:
        sizes[tensor.type in REARRANGED] += tensor.size_bytes
    return sizes[True] >= LEAST_SHARE * sum(sizes.values())
