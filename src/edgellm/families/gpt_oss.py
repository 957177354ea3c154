"""gpt-oss: 20B and 120B, GPT-OSS-Swallow, and fine-tunes whose experts were unpacked into plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from edgellm.errors import BadInput, UsageError
from edgellm.families.decoder import attention, check_decoder, decoder_metadata, decoder_sizes, model_weights
from edgellm.families.family import (
    Bytes,
    Config,
    Family,
    Floats,
    PackedWeight,
    Sizes,
    Value,
    Weight,
    number,
    stated,
    with_defaults,
    wrong,
)
from edgellm.families.mxfp4 import BLOCK_WEIGHTS, repacked
from edgellm.families.rope import WITHOUT_TABLE, without_rope_settings

GATE_ROWS, UP_ROWS, ALL_ROWS = slice(0, None, 2), slice(1, None, 2), slice(None)  # gate and up are interleaved
LAYER_KINDS = ("sliding_attention", "full_attention")
HEAD_DIM = 64  # where config.json states none
# What the class takes where config.json is silent, and neither llama.cpp nor Llama would.
DEFAULTS: Config = {
    "rms_norm_eps": 1e-5, "rope_theta": 150_000.0,
    "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
}  # fmt: skip
ACTIVATION_LIMIT = 7.0  # at which llama.cpp clips the activation, whatever a configuration says


def sizes(config: Config) -> Sizes:
    experts, used = number(config, "num_local_experts"), number(config, "num_experts_per_tok")
    return replace(decoder_sizes(config, HEAD_DIM), experts=experts, experts_used=used)


def check(config: Config) -> None:
    """Refuse what llama.cpp's gpt-oss graph would compute wrongly without a word."""
    s = sizes(config)
    if packed(config):
        if s.hidden % BLOCK_WEIGHTS or s.feed_forward % BLOCK_WEIGHTS:
            raise BadInput("hidden_size and intermediate_size in config.json are no multiples of 32; give the original")
        config = {**config, "quantization_config": None}
    check_decoder(as_computed(config), s, WITHOUT_TABLE)
    if (limit := stated(config, "swiglu_limit", ACTIVATION_LIMIT)) != ACTIVATION_LIMIT:
        raise UsageError(f"this gpt-oss clips activations at {limit} where llama.cpp clips at 7; it cannot run it")
    if s.tied:
        raise UsageError("this gpt-oss has no output matrix of its own, and llama.cpp needs one; it cannot run it")
    if config.get("layer_types") is not None:
        sliding_layers(config, s)


def as_computed(config: Config) -> Config:
    """gpt-oss asks YaRN for `truncate: false`; llama.cpp truncates, and nothing in a GGUF can change that.

    Every GGUF of gpt-oss is computed so. What it costs is measured in docs/design/families.md, and not refused.
    """
    return without_rope_settings(with_defaults(config, DEFAULTS), "truncate")


def packed(config: Config) -> bool:
    settings = config.get("quantization_config")
    return isinstance(settings, dict) and settings.get("quant_method") == "mxfp4"


def sliding_layers(config: Config, s: Sizes) -> list[bool]:
    """Which layers see the sliding window only; where nothing is said, every other one from the first."""
    kinds = config.get("layer_types")
    if kinds is None:
        return [layer % 2 == 0 for layer in range(s.layers)]
    if not isinstance(kinds, list) or len(kinds) != s.layers or not all(kind in LAYER_KINDS for kind in kinds):
        raise wrong("layer_types", kinds, f"a list of {' or '.join(LAYER_KINDS)} for each of the {s.layers} layers")
    if LAYER_KINDS[0] not in kinds:
        raise UsageError("no layer of this gpt-oss has a sliding window, which llama.cpp ends the process over")
    return [kind == "sliding_attention" for kind in kinds]


def metadata(config: Config) -> dict[str, Value]:
    s = sizes(config)
    return decoder_metadata(as_computed(config), s) | {
        "expert_feed_forward_length": s.feed_forward,
        "attention.sliding_window": number(config, "sliding_window"),
        "attention.sliding_window_pattern": sliding_layers(config, s),
    }


def weights(config: Config) -> Iterator[Weight | PackedWeight]:
    s, experts = sizes(config), packed_experts if packed(config) else plain_experts

    def layer(i: int) -> Iterable[Weight | PackedWeight]:
        return [*attention_and_norms(s, i), *router_and_biases(s, i), *experts(s, i)]

    return model_weights(s, layer)


def attention_and_norms(s: Sizes, layer: int) -> Iterator[Weight]:
    source, name = f"model.layers.{layer}", f"blk.{layer}"
    yield Weight(f"{name}.attn_norm.weight", (f"{source}.input_layernorm.weight",), (s.hidden,))
    yield from attention(s, layer, biases="qkvo")
    yield Weight(f"{name}.attn_sinks.weight", (f"{source}.self_attn.sinks",), (s.heads,))
    yield Weight(f"{name}.post_attention_norm.weight", (f"{source}.post_attention_layernorm.weight",), (s.hidden,))


def router_and_biases(s: Sizes, layer: int) -> Iterator[Weight]:
    """llama.cpp adds the experts' biases, matrices though they are, in float32 only."""
    name, mlp = f"blk.{layer}", f"model.layers.{layer}.mlp"
    yield Weight(f"{name}.ffn_gate_inp.weight", (f"{mlp}.router.weight",), (s.experts, s.hidden), type="F32")
    yield Weight(f"{name}.ffn_gate_inp.bias", (f"{mlp}.router.bias",), (s.experts,))
    both, shape = (f"{mlp}.experts.gate_up_proj_bias",), (s.experts, s.feed_forward)
    for ours, rows in (("gate", GATE_ROWS), ("up", UP_ROWS)):
        arrange = partial(some_columns, rows)
        yield Weight(f"{name}.ffn_{ours}_exps.bias", both, shape, arrange, (s.experts, 2 * s.feed_forward), "F32")
    yield Weight(f"{name}.ffn_down_exps.bias", (f"{mlp}.experts.down_proj_bias",), (s.experts, s.hidden), type="F32")


def packed_experts(s: Sizes, layer: int) -> Iterator[PackedWeight]:
    for ours, theirs, rows, shape in expert_matrices(s):
        source = f"model.layers.{layer}.mlp.experts.{theirs}"
        stored_rows = shape[0] if rows == ALL_ROWS else 2 * shape[0]
        blocks = (s.experts, stored_rows, shape[1] // BLOCK_WEIGHTS)
        yield PackedWeight(
            f"blk.{layer}.ffn_{ours}_exps.weight",
            ((f"{source}_blocks", (*blocks, BLOCK_WEIGHTS // 2)), (f"{source}_scales", blocks)),
            (s.experts, *shape), "MXFP4", partial(arranged_blocks, source, rows),
        )  # fmt: skip


def plain_experts(s: Sizes, layer: int) -> Iterator[Weight]:
    """Unpacked experts are stored with inputs before outputs, (experts, columns, rows)."""
    for ours, theirs, rows, shape in expert_matrices(s):
        stored_rows = shape[0] if rows == ALL_ROWS else 2 * shape[0]
        yield Weight(
            f"blk.{layer}.ffn_{ours}_exps.weight", (f"model.layers.{layer}.mlp.experts.{theirs}",),
            (s.experts, *shape), partial(transposed_rows, rows), (s.experts, shape[1], stored_rows),
        )  # fmt: skip


def expert_matrices(s: Sizes) -> tuple[tuple[str, str, slice, tuple[int, int]], ...]:
    """Our name, theirs, which of its rows, and the shape of one expert's."""
    return (
        ("gate", "gate_up_proj", GATE_ROWS, (s.feed_forward, s.hidden)),
        ("up", "gate_up_proj", UP_ROWS, (s.feed_forward, s.hidden)),
        ("down", "down_proj", ALL_ROWS, (s.hidden, s.feed_forward)),
    )


def arranged_blocks(source: str, rows: slice, parts: Sequence[Bytes], first: int) -> Bytes:
    return repacked(source, parts, rows, first)


def some_columns(columns: slice, values: Floats) -> Floats:
    return np.ascontiguousarray(values[:, columns])


def transposed_rows(rows: slice, values: Floats) -> Floats:
    return np.ascontiguousarray(values.swapaxes(1, 2)[:, rows])


FAMILY = Family(
    name="gpt-oss",
    classes=("GptOssForCausalLM",),
    gguf_architecture="gpt-oss",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
)
