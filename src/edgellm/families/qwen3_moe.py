"""Qwen3 with experts: LLM-jp-4 32B-A3B, Qwen3-Swallow 30B-A3B, and all else of class Qwen3MoeForCausalLM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgellm.errors import UsageError
from edgellm.families.decoder import (
    attention,
    decoder_metadata,
    decoder_sizes,
    model_weights,
    norms,
    query_key_norms,
    routed_experts,
)
from edgellm.families.family import Config, Family, Sizes, Value, Weight, number
from edgellm.families.qwen2 import check_qwen
from edgellm.families.qwen3 import check_biases


def sizes(config: Config) -> Sizes:
    # No layer has a dense feed-forward part (see `check`), so its width is free to be left out.
    config = {"intermediate_size": number(config, "moe_intermediate_size"), **config}
    experts, used = number(config, "num_experts"), number(config, "num_experts_per_tok")
    return replace(decoder_sizes(config), experts=experts, experts_used=used)


def check(config: Config) -> None:
    check_qwen(config, sizes(config), windowed_from=0)
    check_biases(config)
    if config.get("norm_topk_prob") is not True:  # false where the key is absent
        raise UsageError(
            "norm_topk_prob is not true in config.json, and llama.cpp's graph for Qwen3MoE always brings the "
            "weights of a token's experts to a sum of 1; no engine can run this checkpoint"
        )
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise UsageError(
            "mlp_only_layers or decoder_sparse_step in config.json asks for layers without experts, which llama.cpp's "
            "graph for Qwen3MoE does not have; no engine can run this checkpoint"
        )


def metadata(config: Config) -> dict[str, Value]:
    width = number(config, "moe_intermediate_size")
    return decoder_metadata(config, sizes(config)) | {"expert_feed_forward_length": width}


def weights(config: Config) -> Iterator[Weight]:
    s, width = sizes(config), number(config, "moe_intermediate_size")
    return model_weights(
        s,
        lambda i: [
            *norms(s, i),
            *attention(s, i),
            *query_key_norms(s, i),
            *routed_experts(s, i, width, "mlp", ("gate_proj", "up_proj", "down_proj")),
        ],
    )


FAMILY = Family(
    name="qwen3_moe",
    classes=("Qwen3MoeForCausalLM",),
    gguf_architecture="qwen3moe",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
)
