"""Llama: LLM-jp-4 8B and 33B, Sarashina2, Llama 2 and 3, and everything else of class LlamaForCausalLM."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edgellm.errors import BadInput, UsageError
from edgellm.families.family import Config, Family, Floats, Sizes, Value, Weight, decimal, number
from edgellm.families.rope import llama3_factors, rope_of, scaling_metadata


def sizes(config: Config) -> Sizes:
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    return Sizes(
        layers=number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=number(config, "num_key_value_heads", heads),
        head_dim=number(config, "head_dim", hidden // heads),
        feed_forward=number(config, "intermediate_size"),
        vocab_tokens=number(config, "vocab_size"),
        context_tokens=number(config, "max_position_embeddings"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def check(config: Config) -> None:
    """Refuse what llama.cpp's Llama graph would compute wrongly without a word."""
    if (activation := config.get("hidden_act", "silu")) != "silu":
        raise UsageError(
            f"this Llama uses the activation {activation!r} where engines compute silu; no engine can run it"
        )
    if config.get("quantization_config"):
        raise UsageError("the checkpoint is already quantized; give the one with the original weights")
    s = sizes(config)
    if s.heads % s.kv_heads or s.head_dim % 2:
        raise BadInput(
            f"config.json asks for {s.heads} heads of width {s.head_dim} over {s.kv_heads} KV heads, "
            "which do not divide evenly; give the original file"
        )
    rope_of(config, s.context_tokens)


def metadata(config: Config) -> dict[str, Value]:
    s = sizes(config)
    values: dict[str, Value] = {
        "block_count": s.layers,
        "context_length": s.context_tokens,
        "embedding_length": s.hidden,
        "feed_forward_length": s.feed_forward,
        "attention.head_count": s.heads,
        "attention.head_count_kv": s.kv_heads,
        "attention.layer_norm_rms_epsilon": decimal(config, "rms_norm_eps", 1e-6),
        "rope.dimension_count": s.head_dim,
        "vocab_size": s.vocab_tokens,
    }
    if config.get("head_dim") is not None:
        values |= {"attention.key_length": s.head_dim, "attention.value_length": s.head_dim}
    return values | scaling_metadata(rope_of(config, s.context_tokens))


def interleave_rotary(heads: int, rows: Floats) -> Floats:
    """Reorder each head's rows from halves (0 … d/2−1 | d/2 … d−1) to pairs (0, d/2, 1, d/2+1, …).

    Hugging Face rotates dimension i with i + d/2, llama.cpp's Llama graph rotates neighbours; `rows` is
    (heads × d, columns) or, for a bias, (heads × d,).
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def weights(config: Config) -> Iterator[Weight]:
    s = sizes(config)
    yield Weight("token_embd.weight", ("model.embed_tokens.weight",), (s.vocab_tokens, s.hidden))
    for i in range(s.layers):
        yield from layer_weights(config, s, i)
    yield Weight("output_norm.weight", ("model.norm.weight",), (s.hidden,))
    if not s.tied:
        yield Weight("output.weight", ("lm_head.weight",), (s.vocab_tokens, s.hidden))


def layer_weights(config: Config, s: Sizes, layer: int) -> list[Weight]:
    source, name = f"model.layers.{layer}", f"blk.{layer}"
    q_width, kv_width = s.heads * s.head_dim, s.kv_heads * s.head_dim
    q_order, k_order = partial(interleave_rotary, s.heads), partial(interleave_rotary, s.kv_heads)
    matrices = [
        ("attn_q", "self_attn.q_proj", (q_width, s.hidden), q_order),
        ("attn_k", "self_attn.k_proj", (kv_width, s.hidden), k_order),
        ("attn_v", "self_attn.v_proj", (kv_width, s.hidden), None),
        ("attn_output", "self_attn.o_proj", (s.hidden, q_width), None),
        ("ffn_gate", "mlp.gate_proj", (s.feed_forward, s.hidden), None),
        ("ffn_up", "mlp.up_proj", (s.feed_forward, s.hidden), None),
        ("ffn_down", "mlp.down_proj", (s.hidden, s.feed_forward), None),
    ]
    found = [
        Weight(f"{name}.attn_norm.weight", (f"{source}.input_layernorm.weight",), (s.hidden,)),
        Weight(f"{name}.ffn_norm.weight", (f"{source}.post_attention_layernorm.weight",), (s.hidden,)),
    ]
    for ours, theirs, shape, arrange in matrices:
        found.append(Weight(f"{name}.{ours}.weight", (f"{source}.{theirs}.weight",), shape, arrange))
        if config.get("attention_bias" if theirs.startswith("self_attn") else "mlp_bias"):
            found.append(Weight(f"{name}.{ours}.bias", (f"{source}.{theirs}.bias",), shape[:1], arrange))
    return found


def tables(config: Config) -> dict[str, Floats]:
    s = sizes(config)
    rope = rope_of(config, s.context_tokens)
    return {"rope_freqs.weight": llama3_factors(rope, s.head_dim)} if rope.kind == "llama3" else {}


FAMILY = Family(
    name="llama",
    classes=("LlamaForCausalLM",),
    gguf_architecture="llama",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
    tables=tables,
    ignored=(".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"),
)
