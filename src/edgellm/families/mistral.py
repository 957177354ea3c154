"""Mistral: Rakuten AI 7B and all else of class MistralForCausalLM. Llama's graph, which has no sliding window."""

from __future__ import annotations

from collections.abc import Iterator

from edgellm.families import llama
from edgellm.families.decoder import (
    attention,
    check_decoder,
    check_window,
    decoder_sizes,
    feed_forward,
    model_weights,
    norms,
)
from edgellm.families.family import Config, Family, Weight, number

WINDOW_TOKENS = 4096  # of a config.json that does not have the key; null there means no window


def check(config: Config) -> None:
    s = decoder_sizes(config)
    check_decoder(config, s)
    if config.get("sliding_window", WINDOW_TOKENS) is not None:
        check_window(number(config, "sliding_window", WINDOW_TOKENS), s.context_tokens)


def weights(config: Config) -> Iterator[Weight]:
    s = decoder_sizes(config)
    return model_weights(s, lambda i: [*norms(s, i), *attention(s, i, order=llama.interleaved), *feed_forward(s, i)])


FAMILY = Family(
    name="mistral",
    classes=("MistralForCausalLM",),
    gguf_architecture="llama",
    sizes=decoder_sizes,
    check=check,
    metadata=lambda config: llama.llama_metadata(config, decoder_sizes(config)),
    weights=weights,
    tables=llama.tables,
    ignored=llama.BUFFERS,
)
