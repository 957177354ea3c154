"""Memory that llama.cpp reserves for what it computes, from a header alone.

It plans the graph of its largest pass before the first one, and results that are no longer needed make room for later
ones, so what counts is the stage that holds most at once: the output, with logits for every token of the pass, or a
layer. docs/design/prediction.md compares this with what llama.cpp says when it loads a model.
"""

from __future__ import annotations

from edgellm.engines.gguf.cache_size import per_layer
from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.loading import CELLS_STEP, GgufOptions, flash_attention_type

NUMBER_BYTES = 4
QUERIES = 4  # of queries, keys and values, and what they were computed from, beside the scores
COPIES = 3  # of a layer's widest result: what goes in, what comes out, and the residual beside them


def compute_bytes(header: Header, options: GgufOptions, context_tokens: int) -> int:
    """About the bytes for a context of so many tokens a sequence; raises nothing where a header tells little."""
    tokens = options.ubatch_tokens
    hidden = header.of_architecture("embedding_length") or 0
    heads = max(per_layer(header, "attention.head_count"), default=0)
    cells = -(-context_tokens // CELLS_STEP) * CELLS_STEP
    mask = tokens * cells * NUMBER_BYTES
    output = tokens * (header.vocab_tokens + 2 * hidden) * NUMBER_BYTES
    layer = tokens * (widest(header) * COPIES + hidden) * NUMBER_BYTES
    if flash_attention_type(options) == 0:
        queries = heads * (header.of_architecture("attention.key_length") or 0)
        layer = max(layer, tokens * (heads * cells + QUERIES * queries) * NUMBER_BYTES)
    return max(output, mask + layer)


def widest(header: Header) -> int:
    """Numbers that a layer computes for a token at its widest point."""
    used = header.of_architecture("expert_used_count") or 0
    expert = used * (header.of_architecture("expert_feed_forward_length") or 0)
    dense = max(per_layer(header, "feed_forward_length"), default=0)
    heads = max(per_layer(header, "attention.head_count"), default=0)
    key = header.of_architecture("attention.key_length") or 0
    state = 2 * (header.of_architecture("ssm.inner_size") or 0)
    return max(expert if used else dense, heads * key, state)
