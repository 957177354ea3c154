"""What PLaMo 2 and PLaMo 3 share: norms that are stored as the distance from their start, and packed projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from edgellm.families.decoder import check_decoder
from edgellm.families.family import Config, Floats, Sizes, Value, Weight, decimal
from edgellm.families.rope import rope_of

# Neither of the models' own configurations knows `rope_scaling`: PLaMo 3 has other keys for its YaRN.
ROPE_KINDS = ("default",)

# Name in the engine, in the checkpoint, and what is added to the stored weight: a norm starts at this value, and
# training moved what is stored away from 0. Without `.weight` where llama.cpp asks for the bare name.
LAYER_NORMS = (
    ("attn_norm.weight", "pre_mixer_norm.weight", 1.0),
    ("post_attention_norm", "post_mixer_norm.weight", 1 / 5),
    ("ffn_norm.weight", "pre_mlp_norm.weight", 1.0),
    ("post_ffw_norm", "post_mlp_norm.weight", 1 / 5**1.5),
)


def plus(offset: float) -> Callable[[Floats], Floats]:
    return partial(np.add, np.float32(offset))


def check_plamo(config: Config, s: Sizes) -> None:
    """Refuse what llama.cpp's PLaMo graphs would compute wrongly without a word; raises UsageError or BadInput."""
    check_decoder(config, s, rope_kinds=ROPE_KINDS)


def rope_base(config: Config, s: Sizes) -> float | None:
    """Theta, as a key of its own or within `rope_parameters`; None where neither states it."""
    return rope_of(config, s.context_tokens, ROPE_KINDS).base


def shared_metadata(config: Config, s: Sizes) -> dict[str, Value]:
    return {
        "vocab_size": s.vocab_tokens,
        "block_count": s.layers,
        "context_length": s.context_tokens,
        "embedding_length": s.hidden,
        "feed_forward_length": s.feed_forward,
        "attention.head_count": s.heads,
        "attention.head_count_kv": s.kv_heads,
        "attention.key_length": s.head_dim,
        "attention.value_length": s.head_dim,
        "attention.layer_norm_rms_epsilon": decimal(config, "rms_norm_eps", 1e-6),
    }


def model_weights(s: Sizes, mixer: Callable[[int], Iterable[Weight]]) -> Iterator[Weight]:
    """Embedding, per layer norms, what `mixer` gives and the feed-forward part, last norm, output unless tied."""
    yield Weight("token_embd.weight", ("model.embed_tokens.weight",), (s.vocab_tokens, s.hidden))
    for i in range(s.layers):
        source, name = layer_names(i)
        for ours, theirs, offset in LAYER_NORMS:
            yield Weight(f"{name}.{ours}", (f"{source}.{theirs}",), (s.hidden,), plus(offset))
        yield from mixer(i)
        # Gate and up in one matrix, the gate first, for the engine as for the checkpoint.
        up, down = (2 * s.feed_forward, s.hidden), (s.hidden, s.feed_forward)
        yield Weight(f"{name}.ffn_up.weight", (f"{source}.mlp.gate_up_proj.weight",), up)
        yield Weight(f"{name}.ffn_down.weight", (f"{source}.mlp.down_proj.weight",), down)
    yield Weight("output_norm.weight", ("model.norm.weight",), (s.hidden,), plus(1.0))
    if not s.tied:
        yield Weight("output.weight", ("lm_head.weight",), (s.vocab_tokens, s.hidden))


def packed_attention(s: Sizes, layer: int) -> list[Weight]:
    """Query, key and value in one matrix, in this order, and the projection back."""
    source, name = layer_names(layer)
    q_width, kv_width = s.heads * s.head_dim, s.kv_heads * s.head_dim
    qkv, out = (q_width + 2 * kv_width, s.hidden), (s.hidden, q_width)
    return [
        Weight(f"{name}.attn_qkv.weight", (f"{source}.mixer.qkv_proj.weight",), qkv),
        Weight(f"{name}.attn_output.weight", (f"{source}.mixer.o_proj.weight",), out),
    ]


def layer_names(layer: int) -> tuple[str, str]:
    """How the checkpoint and the engine call a layer."""
    return f"model.layers.layers.{layer}", f"blk.{layer}"
