"""Qwen2 and Qwen2.5: TinySwallow, ELYZA-Shortcut, and all else of class Qwen2ForCausalLM."""

from __future__ import annotations

from collections.abc import Iterator

from edgellm.errors import UsageError
from edgellm.families.decoder import (
    attention,
    check_decoder,
    check_window,
    decoder_metadata,
    decoder_sizes,
    feed_forward,
    model_weights,
    norms,
)
from edgellm.families.family import Config, Family, Sizes, Weight, number, stated, wrong
from edgellm.families.rope import WITHOUT_TABLE


def check_qwen(config: Config, s: Sizes, windowed_from: int) -> None:
    """What all of Qwen's classes refuse. With `use_sliding_window`, layers from number `windowed_from` on have one."""
    check_decoder(config, s, WITHOUT_TABLE)
    kinds = stated(config, "layer_types", [])
    if not isinstance(kinds, list):
        raise wrong("layer_types", kinds, "a list with the kind of each layer")
    slides = windowed_from < s.layers or "sliding_attention" in kinds
    if config.get("use_sliding_window") and slides:
        check_window(number(config, "sliding_window", 4096), s.context_tokens)


def first_windowed_layer(config: Config) -> int:
    return number(config, "max_window_layers", 28, least=0)


def check(config: Config) -> None:
    s = decoder_sizes(config)
    check_qwen(config, s, first_windowed_layer(config))
    if s.heads * s.head_dim != s.hidden:
        raise UsageError(
            f"this Qwen2 has heads of width {s.head_dim} × {s.heads} in a hidden width of {s.hidden}, and llama.cpp's "
            "graph knows evenly shared heads only; no engine can run it"
        )


def weights(config: Config) -> Iterator[Weight]:
    s = decoder_sizes(config)
    return model_weights(s, lambda i: [*norms(s, i), *attention(s, i, biases="qkv"), *feed_forward(s, i)])


FAMILY = Family(
    name="qwen2",
    classes=("Qwen2ForCausalLM",),
    gguf_architecture="qwen2",
    sizes=decoder_sizes,
    check=check,
    metadata=lambda config: decoder_metadata(config, decoder_sizes(config)),
    weights=weights,
)
