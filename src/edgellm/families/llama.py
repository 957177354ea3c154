"""Llama: LLM-jp-4 8B and 33B, Sarashina2, Llama 2 and 3, and everything else of class LlamaForCausalLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from edgellm.families.decoder import (
    attention,
    check_decoder,
    decoder_metadata,
    decoder_sizes,
    feed_forward,
    model_weights,
    norms,
)
from edgellm.families.family import Config, Family, Floats, Sizes, Value, Weight
from edgellm.families.rope import llama3_factors, rope_of

# Buffers that older versions of transformers stored beside the weights.
BUFFERS = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


def check(config: Config) -> None:
    check_decoder(config, decoder_sizes(config))


def llama_metadata(config: Config, s: Sizes) -> dict[str, Value]:
    """What llama.cpp's Llama graph reads, for the classes that it computes."""
    return decoder_metadata(config, s) | {"rope.dimension_count": s.head_dim, "vocab_size": s.vocab_tokens}


def interleave_rotary(heads: int, rows: Floats) -> Floats:
    """Reorder each head's rows from halves (0 … d/2−1 | d/2 … d−1) to pairs (0, d/2, 1, d/2+1, …).

    Hugging Face rotates dimension i with i + d/2, llama.cpp's Llama graph rotates neighbours; `rows` is
    (heads × d, columns) or, for a bias, (heads × d,).
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def interleaved(heads: int) -> Callable[[Floats], Floats]:
    return partial(interleave_rotary, heads)


def weights(config: Config) -> Iterator[Weight]:
    s = decoder_sizes(config)
    biases, mlp_bias = "qkvo" if config.get("attention_bias") else "", bool(config.get("mlp_bias"))
    return model_weights(
        s, lambda i: [*norms(s, i), *attention(s, i, biases, interleaved), *feed_forward(s, i, mlp_bias)]
    )


def tables(config: Config) -> dict[str, Floats]:
    s = decoder_sizes(config)
    rope = rope_of(config, s.context_tokens)
    return {"rope_freqs.weight": llama3_factors(rope, s.head_dim)} if rope.kind == "llama3" else {}


FAMILY = Family(
    name="llama",
    classes=("LlamaForCausalLM",),
    gguf_architecture="llama",
    sizes=decoder_sizes,
    check=check,
    metadata=lambda config: llama_metadata(config, decoder_sizes(config)),
    weights=weights,
    tables=tables,
    ignored=BUFFERS,
)
