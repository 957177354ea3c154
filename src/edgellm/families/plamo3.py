"""PLaMo 3: attention within a sliding window, and every eighth layer (as the checkpoints have it) over everything.

The layers with a window have a RoPE of their own, shorter and never stretched. The window counts the token itself, as
llama.cpp and SGLang have it; mlx-lm looks back one token further.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgellm.errors import UsageError
from edgellm.families.family import Config, Family, Sizes, Value, Weight, decimal, number, stated
from edgellm.families.plamo import (
    check_plamo,
    layer_names,
    model_weights,
    packed_attention,
    plus,
    rope_base,
    shared_metadata,
)

# What the published configuration class fixes for its YaRN, whatever config.json says.
YARN_BETAS = {"rope.scaling.yarn_beta_fast": 32.0, "rope.scaling.yarn_beta_slow": 1.0}


def sizes(config: Config) -> Sizes:
    return Sizes(
        layers=number(config, "num_hidden_layers"),
        hidden=number(config, "hidden_size"),
        heads=number(config, "num_attention_heads"),
        kv_heads=number(config, "num_key_value_heads"),
        head_dim=number(config, "head_dim", 128),
        feed_forward=number(config, "intermediate_size"),
        vocab_tokens=number(config, "vocab_size"),
        context_tokens=number(config, "max_position_embeddings"),
        tied=bool(stated(config, "tie_word_embeddings", True)),
    )


def check(config: Config) -> None:
    check_plamo(config, sizes(config))
    if config.get("scale_embedding"):
        raise UsageError("this PLaMo 3 scales its embeddings, which llama.cpp does not; no engine can run it")
    if (kind := stated(config, "linear_type", "normal")) != "normal":
        raise UsageError(f"this PLaMo 3 has projections of the kind {kind!r} where engines compute plain ones")


def metadata(config: Config) -> dict[str, Value]:
    s = sizes(config)
    return {
        **shared_metadata(config, s),
        "attention.sliding_window": number(config, "window_size", config.get("sliding_window")),
        "attention.sliding_window_pattern": number(config, "sliding_window_pattern"),
        "rope.freq_base": rope_base(config, s) or decimal(config, "rope_theta", config.get("rope_global_theta")),
        "rope.freq_base_swa": decimal(config, "rope_local_theta", 10000.0),
    } | yarn(config)


def yarn(config: Config) -> dict[str, Value]:
    """How the layers without a window stretch their RoPE, if they do."""
    factor = decimal(config, "rope_scaling_factor", 1.0)
    if factor == 1.0:
        return {}
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": number(config, "initial_context_length"),
        **YARN_BETAS,
    }


def weights(config: Config) -> Iterator[Weight]:
    s = sizes(config)
    return model_weights(s, lambda i: attention_weights(s, i))


def attention_weights(s: Sizes, layer: int) -> list[Weight]:
    source, name = layer_names(layer)
    return [
        *packed_attention(s, layer),
        *(
            Weight(f"{name}.attn_{x}_norm.weight", (f"{source}.mixer.{x}_norm.weight",), (s.head_dim,), plus(1.0))
            for x in ("q", "k")
        ),
    ]


FAMILY = Family(
    name="plamo3",
    classes=("Plamo3ForCausalLM", "PLaMo3ForCausalLM"),
    gguf_architecture="plamo3",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
)
