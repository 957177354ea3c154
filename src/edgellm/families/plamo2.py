"""PLaMo 2 and 2.1: layers of Mamba and of attention in turn.

Three things about the engine decide what is written here, each measured against a computation from the published
definition (docs/design/families.md):

- llama.cpp takes the width of RoPE from the heads of the first layer, which is a Mamba layer. A file that gives it 0
  heads, as llama.cpp's own script writes it, never returns from a decode on a CPU, and computes no RoPE on a GPU. So
  `head_count` is the true number for every layer, and which layers are Mamba is told by zeros in `head_count_kv` alone.
- Its attention is full in every layer. The context that is declared is therefore the window of the layers that have
  one, up to which both compute the same; where no layer has a window it is LONGEST_CONTEXT. The checkpoint's own
  number is no measure: PLaMo 2.1 says 10,485,760, far beyond anything it was trained on and any memory.
- Quantizing `ssm_out` was seen to make answers run into loops, so it stays 16-bit: F16, for which every device has
  kernels, and which holds BF16 weights of the usual size exactly. So does `ssm_dt`, whose rows of 64 to 256 weights
  few types fit and which weighs nothing. `ssm_conv1d` is computed in F32 by the engine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgellm.errors import UsageError
from edgellm.families.family import Config, Family, Floats, Sizes, Value, Weight, number, stated, wrong
from edgellm.families.plamo import check_plamo, layer_names, model_weights, packed_attention, rope_base, shared_metadata

LONGEST_CONTEXT = 32_768
LAYERS_LIMIT = 512  # llama.cpp holds no more (LLAMA_MAX_LAYERS)


def sizes(config: Config) -> Sizes:
    return Sizes(
        layers=layers(config),
        hidden=number(config, "hidden_size", 4096),
        heads=number(config, "num_attention_heads", 32),
        kv_heads=number(config, "num_key_value_heads", 4),
        head_dim=number(config, "hidden_size_per_head", 128),
        feed_forward=number(config, "intermediate_size", 13312),
        vocab_tokens=number(config, "vocab_size"),
        context_tokens=context_tokens(config),
        tied=bool(stated(config, "tie_word_embeddings", True)),
    )


def layers(config: Config) -> int:
    if (count := number(config, "num_hidden_layers", 32)) > LAYERS_LIMIT:
        raise wrong("num_hidden_layers", count, f"at most {LAYERS_LIMIT}, as engines hold")
    return count


def context_tokens(config: Config) -> int:
    """The longest text for which the engine computes what the checkpoint defines, see above."""
    declared = min(number(config, "max_position_embeddings", 2048), LONGEST_CONTEXT)
    full = stated(config, "full_attention_idx", [])
    if not isinstance(full, list) or not all(type(i) is int for i in full):
        raise wrong("full_attention_idx", full, "a list of layer numbers")
    windowed = set(range(layers(config))) - mamba_layers(config) - set(full)
    return min(declared, number(config, "attention_window_size", 2048)) if windowed else declared


def mamba_layers(config: Config) -> set[int]:
    """The layers without attention, by number. Raises BadInput for a pattern that is none."""
    count, step = layers(config), number(config, "mamba_step", 2)
    if not stated(config, "mamba_enabled", True):
        return set()
    if step < 2:
        raise wrong("mamba_step", step, "2 or more")
    if count <= step // 2:
        return set(range(count - 1))
    return {i for i in range(count) if i % step != step // 2}


def check(config: Config) -> None:
    check_plamo(config, sizes(config))
    if not mamba_layers(config):
        raise UsageError("this PLaMo 2 has no Mamba layer, and llama.cpp ends the process over it; use another engine")
    if (kernel := number(config, "mamba_d_conv", 4)) < 2:
        raise wrong("mamba_d_conv", kernel, "2 or more")


def metadata(config: Config) -> dict[str, Value]:
    s = sizes(config)
    mamba = mamba_layers(config)
    heads = number(config, "mamba_num_heads", 64)
    return {
        **shared_metadata(config, s),
        "attention.head_count_kv": [0 if i in mamba else s.kv_heads for i in range(s.layers)],
        "rope.freq_base": rope_base(config, s) or 10000.0,
        "ssm.state_size": number(config, "mamba_d_state", 64),
        "ssm.conv_kernel": number(config, "mamba_d_conv", 4),
        "ssm.time_step_rank": heads,
        "ssm.inner_size": heads * s.head_dim,
        "ssm.group_count": 0,
    }


def weights(config: Config) -> Iterator[Weight]:
    s = sizes(config)
    mamba = mamba_layers(config)
    return model_weights(s, lambda i: mamba_weights(config, s, i) if i in mamba else attention_weights(s, i))


def attention_weights(s: Sizes, layer: int) -> list[Weight]:
    """The norms of query and key are one row a head, and are stored as they are used."""
    source, name = layer_names(layer)
    return [
        *packed_attention(s, layer),
        Weight(f"{name}.attn_q_norm.weight", (f"{source}.mixer.q_weight",), (s.heads, s.head_dim), type="F32"),
        Weight(f"{name}.attn_k_norm.weight", (f"{source}.mixer.k_weight",), (s.kv_heads, s.head_dim), type="F32"),
    ]


def mamba_weights(config: Config, s: Sizes, layer: int) -> list[Weight]:
    source, name = (f"{n}.{part}" for n, part in zip(layer_names(layer), ("mixer", "ssm"), strict=True))
    heads, state = number(config, "mamba_num_heads", 64), number(config, "mamba_d_state", 64)
    kernel, inner = number(config, "mamba_d_conv", 4), heads * s.head_dim
    time_width = max(64, s.hidden // 16)
    return [
        Weight(f"{name}_in.weight", (f"{source}.in_proj.weight",), (2 * inner, s.hidden)),
        Weight(
            f"{name}_conv1d.weight", (f"{source}.conv1d.weight",), (inner, kernel), without_middle,
            taken_from=(inner, 1, kernel), type="F32",
        ),
        Weight(f"{name}_x.weight", (f"{source}.bcdt_proj.weight",), (time_width + 2 * state, inner)),
        Weight(f"{name}_dt.weight", (f"{source}.dt_proj.weight",), (heads, time_width)),
        Weight(f"{name}_dt.bias", (f"{source}.dt_bias",), (heads,)),
        Weight(f"{name}_a", (f"{source}.A_log",), (heads,), decay),
        Weight(f"{name}_d", (f"{source}.D",), (heads,)),
        Weight(f"{name}_dt_norm", (f"{source}.dt_norm_weight",), (time_width,)),
        Weight(f"{name}_b_norm", (f"{source}.B_norm_weight",), (state,)),
        Weight(f"{name}_c_norm", (f"{source}.C_norm_weight",), (state,)),
        Weight(f"{name}_out.weight", (f"{source}.out_proj.weight",), (s.hidden, inner)),
    ]  # fmt: skip


def without_middle(kernels: Floats) -> Floats:
    """(channels, 1, kernel) → (channels, kernel): each channel is convolved with itself alone."""
    return kernels[:, 0]


def decay(logarithm: Floats) -> Floats:
    """−exp of it. In double precision and rounded once: NumPy's float32 exp is off by a bit here and there."""
    return -np.exp(logarithm.astype(np.float64)).astype(np.float32)


FAMILY = Family(
    name="plamo2",
    classes=("Plamo2ForCausalLM", "PLaMo2ForCausalLM"),
    gguf_architecture="plamo2",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
    tensor_types={r"^blk\.\d+\.ssm_(out|dt)\.weight$": "F16"},
)
