"""DeepSeek-V3 and what is built on it, such as Rakuten AI 3.0: latent attention, shared and routed experts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from edgellm.errors import BadInput, UsageError
from edgellm.families.decoder import (
    check_decoder,
    decoder_metadata,
    decoder_sizes,
    feed_forward,
    model_weights,
    norms,
    projection,
    routed_experts,
)
from edgellm.families.family import Config, Family, Floats, Sizes, Value, Weight, decimal, number, stated
from edgellm.families.rope import WITHOUT_TABLE, rope_of, without_rope_settings

SIGMOID = 2  # of llama.cpp's `llama_expert_gating_func_type`
MSCALES = ("mscale", "mscale_all_dim")
LITE_LAYERS = (26, 27)  # llama.cpp takes files of so many layers for DeepSeek-V2-Lite, which has no q_lora_rank


def sizes(config: Config) -> Sizes:
    """`kv_heads` is 1: all heads share one latent, and only that is kept in the KV cache."""
    width = number(config, "qk_nope_head_dim") + number(config, "qk_rope_head_dim")
    experts, used = number(config, "n_routed_experts"), number(config, "num_experts_per_tok")
    return replace(decoder_sizes(config), kv_heads=1, head_dim=width, experts=experts, experts_used=used)


def check(config: Config) -> None:
    """Refuse what llama.cpp's deepseek2 graph would compute wrongly, refuse or die of."""
    s = sizes(config)
    check_decoder(without_rope_settings(config, *MSCALES), s, WITHOUT_TABLE)
    for key, known in (
        ("scoring_func", "sigmoid"), ("topk_method", "noaux_tc"), ("rope_interleave", True), ("moe_layer_freq", 1),
        ("attention_bias", False),
    ):  # fmt: skip
        if (value := stated(config, key, known)) != known:
            raise UsageError(f'llama.cpp computes this family with "{key}" {known!r}, not {value!r}; it cannot run it')
    if (config.get("q_lora_rank") is None) != (s.layers in LITE_LAYERS):
        raise UsageError(
            f"llama.cpp takes a model of {s.layers} layers for one {'without' if s.layers in LITE_LAYERS else 'with'} "
            "q_lora_rank, and this one is not; it cannot load it"
        )
    check_experts(config, s)
    check_mscales(config, s)


def check_experts(config: Config, s: Sizes) -> None:
    groups, groups_used = expert_groups(config)
    if s.experts % groups or groups_used > groups or s.experts_used > s.experts // groups * groups_used:
        raise BadInput("the experts and their groups in config.json do not fit one another; give the original file")
    if s.experts <= groups:
        raise UsageError("llama.cpp needs groups of two experts or more; it cannot run this model")


def check_mscales(config: Config, s: Sizes) -> None:
    """llama.cpp scales attention under YaRN by `mscale_all_dim`, and takes `mscale` for the same."""
    rope = rope_of(without_rope_settings(config, *MSCALES), s.context_tokens)
    scales = [stated(all_rope_settings(config), key, None) for key in MSCALES]
    if rope.kind == "yarn" and (not scales[0] or scales[0] != scales[1] or "attention_factor" in rope.settings):
        raise UsageError(
            "llama.cpp computes YaRN for this family with mscale and mscale_all_dim equal and above 0, and no "
            "attention_factor; it cannot run this model"
        )


def all_rope_settings(config: Config) -> Config:
    found: Config = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return found


def expert_groups(config: Config) -> tuple[int, int]:
    """How many groups of experts there are, and from how many of them a token's experts are taken.

    Groups that are all used are no groups; llama.cpp ends the process over them.
    """
    groups, used = number(config, "n_group", 8), number(config, "topk_group", 4)
    return (1, 1) if used == groups else (groups, used)


def metadata(config: Config) -> dict[str, Value]:
    s = sizes(config)
    latent, rotary = number(config, "kv_lora_rank"), number(config, "qk_rope_head_dim")
    groups, groups_used = expert_groups(config)
    values = decoder_metadata(without_rope_settings(config, *MSCALES), s) | {
        "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rotary,
        "attention.value_length": latent,
        "attention.key_length_mla": s.head_dim,
        "attention.value_length_mla": number(config, "v_head_dim"),
        "rope.dimension_count": rotary,
        "vocab_size": s.vocab_tokens,
        "leading_dense_block_count": dense_layers(config),
        "expert_group_count": groups,
        "expert_group_used_count": groups_used,
        "expert_feed_forward_length": number(config, "moe_intermediate_size"),
        "expert_shared_count": number(config, "n_shared_experts"),
        "expert_gating_func": SIGMOID,
        "expert_weights_norm": bool(stated(config, "norm_topk_prob", True)),
        "expert_weights_scale": decimal(config, "routed_scaling_factor", 2.5),
    }
    if config.get("q_lora_rank") is not None:
        values["attention.q_lora_rank"] = number(config, "q_lora_rank")
    if "rope.scaling.type" in values:
        # llama.cpp divides by 0.1 again: so files have been written since before the key was given a meaning.
        values["rope.scaling.yarn_log_multiplier"] = 0.1 * decimal(all_rope_settings(config), "mscale_all_dim")
    return values


def dense_layers(config: Config) -> int:
    """How many layers from the first have a plain feed-forward part instead of experts; may be none."""
    return number(config, "first_k_dense_replace", 3, least=0)


def weights(config: Config) -> Iterator[Weight]:
    s, dense = sizes(config), dense_layers(config)

    def layer(i: int) -> list[Weight]:
        feeding = feed_forward(s, i) if i < dense else expert_weights(config, s, i)
        return [*norms(s, i), *attention_weights(config, s, i), *feeding]

    return model_weights(s, layer)


def attention_weights(config: Config, s: Sizes, layer: int) -> Iterator[Weight]:
    source, name = f"model.layers.{layer}.self_attn", f"blk.{layer}.attn"
    latent, rotary = number(config, "kv_lora_rank"), number(config, "qk_rope_head_dim")
    plain, value = number(config, "qk_nope_head_dim"), number(config, "v_head_dim")
    if config.get("q_lora_rank") is None:
        yield Weight(f"{name}_q.weight", (f"{source}.q_proj.weight",), (s.heads * s.head_dim, s.hidden))
    else:
        rank = number(config, "q_lora_rank")
        yield Weight(f"{name}_q_a.weight", (f"{source}.q_a_proj.weight",), (rank, s.hidden))
        yield Weight(f"{name}_q_a_norm.weight", (f"{source}.q_a_layernorm.weight",), (rank,))
        yield Weight(f"{name}_q_b.weight", (f"{source}.q_b_proj.weight",), (s.heads * s.head_dim, rank))
    yield Weight(f"{name}_kv_a_mqa.weight", (f"{source}.kv_a_proj_with_mqa.weight",), (latent + rotary, s.hidden))
    yield Weight(f"{name}_kv_a_norm.weight", (f"{source}.kv_a_layernorm.weight",), (latent,))
    both, stored = (f"{source}.kv_b_proj.weight",), (s.heads * (plain + value), latent)
    split = partial(keys_or_values, s.heads, plain)
    yield Weight(f"{name}_k_b.weight", both, (s.heads, latent, plain), partial(split, True), stored)
    yield Weight(f"{name}_v_b.weight", both, (s.heads, value, latent), partial(split, False), stored)
    yield Weight(f"{name}_output.weight", (f"{source}.o_proj.weight",), (s.hidden, s.heads * value))


def keys_or_values(heads: int, key_width: int, keys: bool, rows: Floats) -> Floats:
    """One half of kv_b_proj, whose rows are for each head its keys and then its values; columns: the latent.

    Keys come transposed, (heads, latent, key width): llama.cpp multiplies them into the query, not the latent.
    """
    by_head = rows.reshape(heads, -1, rows.shape[1])
    part = by_head[:, :key_width].swapaxes(1, 2) if keys else by_head[:, key_width:]
    return np.ascontiguousarray(part)


def expert_weights(config: Config, s: Sizes, layer: int) -> Iterator[Weight]:
    width = number(config, "moe_intermediate_size")
    yield from routed_experts(s, layer, width, "mlp", ("gate_proj", "up_proj", "down_proj"))
    yield Weight(
        f"blk.{layer}.exp_probs_b.bias", (f"model.layers.{layer}.mlp.gate.e_score_correction_bias",), (s.experts,)
    )
    shared = width * number(config, "n_shared_experts")
    for ours, shape in (("gate", (shared, s.hidden)), ("up", (shared, s.hidden)), ("down", (s.hidden, shared))):
        yield from projection(layer, f"ffn_{ours}_shexp", f"mlp.shared_experts.{ours}_proj", shape)


def left_out(config: Config, name: str) -> str | None:
    """The layers after the last, which were trained to predict several tokens at once."""
    found = re.match(r"model\.layers\.(\d+)\.", name)
    beyond = int(found[1]) - number(config, "num_hidden_layers") if found else -1
    if not 0 <= beyond < number(config, "num_nextn_predict_layers", 0, least=0):
        return None
    return "its layers that predict several tokens ahead are left out, since no answer depends on them"


FAMILY = Family(
    name="deepseek",
    classes=("DeepseekV3ForCausalLM",),
    gguf_architecture="deepseek2",
    sizes=sizes,
    check=check,
    metadata=metadata,
    weights=weights,
    left_out=left_out,
)
