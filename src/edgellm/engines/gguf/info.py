"""What is known about a GGUF model once it is loaded."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import llama_cpp

from edgellm.engines.gguf import library
from edgellm.engines.gguf.embedding import embedding_width
from edgellm.engines.gguf.loading import metadata
from edgellm.engines.protocol import RuntimeInfo

# Eight tokens take three quarters of the time of sixteen at the beginning of a text, and little more than half deep in
# it, where attention is what costs. With flash attention a processor computes blocks of 64 queries, and fewer one by
# one: deep in a text 32 take nearly as long.
SHORT_PIECE, FLASH_PIECE = 8, 64


@dataclass(frozen=True)
class GgufInfo(RuntimeInfo):
    """What is known about a loaded GGUF model beyond what every engine tells."""

    size_bytes: int  # of all tensors
    parameters: int
    description: str  # llama.cpp's words for architecture, size and type, such as "llama 8B Q4_K - Medium"
    threads: int


def can_cut(model: Any) -> bool:
    return not (llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))


def info_of(
    model: Any, context: Any, adapters: Mapping[str, Any], context_tokens: int, state_digest: str,
    *, setup: str, gpu_share: float = 0.0, piece_tokens: int = SHORT_PIECE, batch_invariant: bool = False,
) -> GgufInfo:  # fmt: skip
    words = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_desc(model, words, len(words))
    return GgufInfo(
        engine="gguf",
        architecture=metadata(model, "general.architecture"),
        vocab_tokens=llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model)),
        context_tokens=context_tokens,
        sequences=llama_cpp.llama_n_seq_max(context),
        step_tokens=llama_cpp.llama_n_batch(context),
        can_cut=can_cut(model),
        batch_invariant=batch_invariant or llama_cpp.llama_n_seq_max(context) == 1,
        build=library.build(),
        setup=setup,
        gpu_share=gpu_share,
        piece_tokens=piece_tokens,
        adapters=tuple(adapters),
        embedding_width=embedding_width(model),
        state_digest=state_digest,
        size_bytes=llama_cpp.llama_model_size(model),
        parameters=llama_cpp.llama_model_n_params(model),
        description=words.value.decode("utf-8", "replace"),
        threads=llama_cpp.llama_n_threads(context),
    )
