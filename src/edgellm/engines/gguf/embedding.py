"""Vectors of whole texts, from a context of their own beside the one that answers.

A model gives vectors if its file declares how those of its tokens become one (`ARCH.pooling_type`): embedding models
do, chat models do not, and pooling what was never trained for it would give vectors that mean little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import llama_cpp
import numpy as np

from edgellm.engines.gguf import library
from edgellm.engines.gguf.batch import Batch
from edgellm.engines.gguf.loading import CELLS_STEP, metadata
from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import EngineFailed

# Mean, first token, last token; what else llama.cpp knows gives no vector of a text (none) or a score (rank).
POOLING_TYPES = (
    llama_cpp.LLAMA_POOLING_TYPE_MEAN, llama_cpp.LLAMA_POOLING_TYPE_CLS, llama_cpp.LLAMA_POOLING_TYPE_LAST,
)  # fmt: skip
TEXTS_AT_ONCE = 32
TOKENS_AT_ONCE = 512  # of several texts; a longer text gets as many as it needs


def embedding_width(model: Any) -> int:
    """Numbers in a text's vector; 0 if the file declares no pooling."""
    pooling = metadata(model, f"{metadata(model, 'general.architecture')}.pooling_type")
    return llama_cpp.llama_model_n_embd_out(model) if pooling in map(str, POOLING_TYPES) else 0


class Embedder:
    """Holds a `llama_context` for the model, which its owner frees after `close`."""

    def __init__(self, model: Any, width: int, threads: int) -> None:
        self._model = model
        self._width = width
        self._threads = threads
        self._context: Any = None
        self._tokens = 0  # that the context computes at once

    def embed(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Vectors of length 1, of shape (len(prompts), width); no prompt may be empty. Raises EngineFailed."""
        if not prompts:
            return np.empty((0, self._width), np.float32)
        self._make_room(max(len(prompt) for prompt in prompts))
        vectors = np.concatenate([self._decode(group) for group in _groups(prompts, self._tokens)])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise EngineFailed("the model gave a vector that is not a number; the file may be damaged")
        return np.asarray(vectors / lengths, np.float32)

    def close(self) -> None:
        if self._context is not None:
            llama_cpp.llama_free(self._context)
            self._context = None

    def _make_room(self, longest: int) -> None:
        """A text is computed in one piece: llama.cpp pools the tokens of each piece apart."""
        if self._context is not None and longest <= self._tokens:
            return
        self.close()
        self._tokens = -(-max(longest, TOKENS_AT_ONCE) // CELLS_STEP) * CELLS_STEP
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = self._tokens
        settings.n_seq_max = TEXTS_AT_ONCE
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.embeddings = True
        settings.kv_unified = True
        library.log.clear()
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            self._context = None
            raise EngineFailed(
                f"llama.cpp has no room for a text of {longest} tokens ({library.log.reason() or 'no reason given'}); "
                "embed shorter texts"
            )
        self._batch = Batch(self._tokens, self._tokens)

    def _decode(self, prompts: Sequence[Sequence[int]]) -> Logits:
        """Vectors as the model gives them, of texts that fit at once."""
        memory = llama_cpp.llama_get_memory(self._context)
        if memory:
            llama_cpp.llama_memory_clear(memory, False)
        feeds = [Feed(place, prompt, "all") for place, prompt in enumerate(prompts)]
        self._batch.fill(feeds, np.concatenate([np.asarray(prompt, np.int64) for prompt in prompts]), [0] * len(feeds))
        library.log.clear()
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code:
            raise EngineFailed(f"llama.cpp could not embed texts (code {code}, {library.log.reason() or 'no reason'})")
        rows = [llama_cpp.llama_get_embeddings_seq(self._context, place) for place in range(len(prompts))]
        return np.array([np.ctypeslib.as_array(row, shape=(self._width,)) for row in rows])


def _groups(prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[list[Sequence[int]]]:
    """Neighbours that fit at once."""
    group: list[Sequence[int]] = []
    for prompt in prompts:
        if group and (len(group) == TEXTS_AT_ONCE or sum(map(len, group)) + len(prompt) > tokens):
            yield group
            group = []
        group.append(prompt)
    if group:
        yield group
