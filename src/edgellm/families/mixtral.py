"""Mixtral: Rakuten AI 2.0 8x7B and all else of class MixtralForCausalLM. Llama's graph, with experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from edgellm.families import llama
from edgellm.families.decoder import (
    attention,
    check_decoder,
    check_window,
    decoder_sizes,
    model_weights,
    norms,
    routed_experts,
)
from edgellm.families.family import Config, Family, Sizes, Value, Weight, number, with_defaults

# What the class takes where config.json is silent, and neither llama.cpp nor Llama would.
DEFAULTS: Mapping[str, float] = {"rope_theta": 1e6, "rms_norm_eps": 1e-5}


def sizes(config: Config) -> Sizes:
    experts, used = number(config, "num_local_experts", 8), number(config, "num_experts_per_tok", 2)
    return replace(decoder_sizes(config), experts=experts, experts_used=used)


def check(config: Config) -> None:
    s = sizes(config)
    check_decoder(config, s)
    if config.get("sliding_window") is not None:
        check_window(number(config, "sliding_window"), s.context_tokens)


def metadata(config: Config) -> dict[str, Value]:
    return llama.llama_metadata(with_defaults(config, DEFAULTS), sizes(config))


def weights(config: Config) -> Iterator[Weight]:
    s = sizes(config)
    return model_weights(
        s,
        lambda i: [
            *norms(s, i),
            *attention(s, i, order=llama.interleaved),
            *routed_experts(s, i, s.feed_forward, "block_sparse_moe", ("w1", "w3", "w2")),
        ],
    )


FAMILY = Family(
    name="mixtral",
    classes=("MixtralForCausalLM",),
    gguf_architecture="llama",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
    tables=lambda config: llama.tables(with_defaults(config, DEFAULTS)),
    ignored=llama.BUFFERS,
)
