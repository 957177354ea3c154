"""What the decoder-only transformers of Llama's shape share: sizes, checks, metadata, and the parts of a layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from edgellm.errors import BadInput, UsageError
from edgellm.families.family import Config, Floats, Sizes, Value, Weight, decimal, number
from edgellm.families.rope import REQUIRED, rope_of, scaling_metadata
from edgellm.store import fp8

W = TypeVar("W")
Arrange = Callable[[Floats], Floats]
EXPERTS_LIMIT = 1024  # llama.cpp aborts the process beyond (LLAMA_MAX_EXPERTS)


def decoder_sizes(config: Config, head_dim: int | None = None) -> Sizes:
    """Sizes of a dense model; `head_dim` is what the class takes where config.json has none (None: an even share)."""
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    return Sizes(
        layers=number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=number(config, "num_key_value_heads", heads),
        head_dim=number(config, "head_dim", head_dim or hidden // heads),
        feed_forward=number(config, "intermediate_size"),
        vocab_tokens=number(config, "vocab_size"),
        context_tokens=number(config, "max_position_embeddings"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def check_decoder(config: Config, s: Sizes, rope_kinds: Collection[str] = tuple(REQUIRED)) -> None:
    """Refuse what llama.cpp's graphs for such models would compute wrongly without a word.

    `rope_kinds` are the kinds of rope scaling that the family's graph computes. Raises UsageError or BadInput.
    """
    if (activation := config.get("hidden_act", "silu")) != "silu":
        raise UsageError(
            f"this model uses the activation {activation!r} where engines compute silu; no engine can run it"
        )
    if config.get("quantization_config") and not fp8.block_shape(config):
        raise UsageError("the checkpoint is already quantized; give the one with the original weights")
    if s.heads % s.kv_heads or s.head_dim % 2:
        raise BadInput(
            f"config.json asks for {s.heads} heads of width {s.head_dim} over {s.kv_heads} KV heads, "
            "which do not divide evenly; give the original file"
        )
    if not s.experts_used <= s.experts <= EXPERTS_LIMIT:
        raise BadInput(
            f"config.json asks for {s.experts_used} of {s.experts} experts a token, where engines compute with "
            f"{EXPERTS_LIMIT} at most; give the original file"
        )
    rope_of(config, s.context_tokens, kinds=rope_kinds)


def check_window(window: int | None, context_tokens: int) -> None:
    """Refuse a sliding window (in tokens, None: there is none) that is shorter than the context.

    llama.cpp reads no window for the classes that ask this: each token would see all that came before.
    """
    if window is not None and window < context_tokens:
        raise UsageError(
            f"this checkpoint attends within a sliding window of {window} tokens, which llama.cpp ignores for its "
            f"class, so that answers past it would be wrong; set max_position_embeddings in a copy of its "
            f"config.json to {window}, up to which the two agree"
        )


def decoder_metadata(config: Config, s: Sizes) -> dict[str, Value]:
    values: dict[str, Value] = {
        "block_count": s.layers,
        "context_length": s.context_tokens,
        "embedding_length": s.hidden,
        "feed_forward_length": s.feed_forward,
        "attention.head_count": s.heads,
        "attention.head_count_kv": s.kv_heads,
        "attention.layer_norm_rms_epsilon": decimal(config, "rms_norm_eps", 1e-6),
    }
    if config.get("head_dim") is not None or s.heads * s.head_dim != s.hidden:
        values |= {"attention.key_length": s.head_dim, "attention.value_length": s.head_dim}
    if s.experts:
        values |= {"expert_count": s.experts, "expert_used_count": s.experts_used}
    return values | scaling_metadata(rope_of(config, s.context_tokens))


def model_weights(s: Sizes, layer: Callable[[int], Iterable[W]]) -> Iterator[W | Weight]:
    """Embedding, the weights that `layer` gives of each layer, last norm, and the output matrix unless it is tied."""
    yield Weight("token_embd.weight", ("model.embed_tokens.weight",), (s.vocab_tokens, s.hidden))
    for i in range(s.layers):
        yield from layer(i)
    yield Weight("output_norm.weight", ("model.norm.weight",), (s.hidden,))
    if not s.tied:
        yield Weight("output.weight", ("lm_head.weight",), (s.vocab_tokens, s.hidden))


def norms(s: Sizes, layer: int) -> list[Weight]:
    return [
        Weight(f"blk.{layer}.{ours}.weight", (f"model.layers.{layer}.{theirs}.weight",), (s.hidden,))
        for ours, theirs in (("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"))
    ]


def attention(
    s: Sizes, layer: int, biases: Collection[str] = "", order: Callable[[int], Arrange] | None = None
) -> list[Weight]:
    """The four projections, with a bias where the letter is in `biases` ("qkv", say).

    `order(heads)` rearranges the rows of the query and the key, where the engine rotates them otherwise.
    """
    q_width, kv_width = s.heads * s.head_dim, s.kv_heads * s.head_dim
    q_order, k_order = (order(s.heads), order(s.kv_heads)) if order else (None, None)
    projections = (
        ("q", "attn_q", (q_width, s.hidden), q_order),
        ("k", "attn_k", (kv_width, s.hidden), k_order),
        ("v", "attn_v", (kv_width, s.hidden), None),
        ("o", "attn_output", (s.hidden, q_width), None),
    )
    found = []
    for letter, ours, shape, arrange in projections:
        theirs = f"self_attn.{letter}_proj"
        found += projection(layer, ours, theirs, shape, bias=letter in biases, arrange=arrange)
    return found


def query_key_norms(s: Sizes, layer: int) -> list[Weight]:
    """The norms over each head's query and key, one weight a dimension of the head."""
    return [
        Weight(f"blk.{layer}.attn_{x}_norm.weight", (f"model.layers.{layer}.self_attn.{x}_norm.weight",), (s.head_dim,))
        for x in "qk"
    ]


def feed_forward(s: Sizes, layer: int, bias: bool = False) -> list[Weight]:
    up, down = (s.feed_forward, s.hidden), (s.hidden, s.feed_forward)
    return [
        *projection(layer, "ffn_gate", "mlp.gate_proj", up, bias),
        *projection(layer, "ffn_up", "mlp.up_proj", up, bias),
        *projection(layer, "ffn_down", "mlp.down_proj", down, bias),
    ]


def projection(
    layer: int, ours: str, theirs: str, shape: tuple[int, int], bias: bool = False, arrange: Arrange | None = None
) -> list[Weight]:
    name, source = f"blk.{layer}.{ours}", f"model.layers.{layer}.{theirs}"
    found = [Weight(f"{name}.weight", (f"{source}.weight",), shape, arrange)]
    return [*found, Weight(f"{name}.bias", (f"{source}.bias",), shape[:1], arrange)] if bias else found


def routed_experts(s: Sizes, layer: int, width: int, block: str, names: tuple[str, str, str]) -> list[Weight]:
    """The router, in F32 whatever the file's type, and the experts' three projections, each stacked by expert.

    `block` is the checkpoint's name for the part of a layer, `names` for gate, up and down; experts are `width` wide.
    """
    name, source = f"blk.{layer}", f"model.layers.{layer}.{block}"
    shapes = ((width, s.hidden), (width, s.hidden), (s.hidden, width))
    router = Weight(f"{name}.ffn_gate_inp.weight", (f"{source}.gate.weight",), (s.experts, s.hidden), type="F32")
    stacks = [
        Weight(
            f"{name}.ffn_{ours}_exps.weight",
            tuple(f"{source}.experts.{n}.{theirs}.weight" for n in range(s.experts)),
            (s.experts, *shape),
        )
        for ours, theirs, shape in zip(("gate", "up", "down"), names, shapes, strict=True)
    ]
    return [router, *stacks]
