"""Qwen3: Qwen3-Swallow 8B and 32B, and all else of class Qwen3ForCausalLM."""

from __future__ import annotations

from collections.abc import Iterator

from edgellm.errors import UsageError
from edgellm.families.decoder import (
    attention,
    decoder_metadata,
    decoder_sizes,
    feed_forward,
    model_weights,
    norms,
    query_key_norms,
)
from edgellm.families.family import Config, Family, Sizes, Weight
from edgellm.families.qwen2 import check_qwen, first_windowed_layer


def sizes(config: Config) -> Sizes:
    return decoder_sizes(config, head_dim=128)


def check_biases(config: Config) -> None:
    """llama.cpp has no place for the bias of the output projection, which comes with those of the other three."""
    if config.get("attention_bias"):
        raise UsageError(
            "attention_bias is true in config.json, and llama.cpp's graph for Qwen3 has none; no engine can run it"
        )


def check(config: Config) -> None:
    check_qwen(config, sizes(config), first_windowed_layer(config))
    check_biases(config)


def weights(config: Config) -> Iterator[Weight]:
    s = sizes(config)
    return model_weights(s, lambda i: [*norms(s, i), *attention(s, i), *query_key_norms(s, i), *feed_forward(s, i)])


FAMILY = Family(
    name="qwen3",
    classes=("Qwen3ForCausalLM",),
    gguf_architecture="qwen3",
    sizes=sizes,
    check=check,
    metadata=lambda config: decoder_metadata(config, sizes(config)),
    weights=weights,
)
