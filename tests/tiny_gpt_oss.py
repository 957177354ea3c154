"""A tiny GptOssForCausalLM with random weights, its experts in MXFP4 as published or in plain numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tiny_checkpoints import TINY_JA, TOKENIZER_FILES

# The sixteen values of E2M1 by their four bits: a sign, two of exponent, one of fraction.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
LAYERS, EXPERTS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 3, 4, 64, 96, 4, 2, 32, 8192

# The published settings but for `truncate`, which llama.cpp does not know: false in the published file.
YARN = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 64}


def random_gpt_oss(folder: Path, *, seed: int = 0, scale: float = 2.0, **changes: object) -> Path:
    """Weights `scale` times the usual spread, so that faults show; `changes` go into config.json."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        # Through float16, so that an F16 file holds them exactly.
        return (rng.standard_normal(shape) * scale / np.sqrt(shape[-1])).astype(np.float16).astype(np.float32)

    def norm() -> np.ndarray:
        return rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)

    def packed(name: str, rows: int, columns: int) -> dict[str, np.ndarray]:
        shape = (EXPERTS, rows, columns // 32)
        exponent = round(float(np.log2(scale / np.sqrt(columns) / E2M1.std())))
        return {
            f"{name}_blocks": rng.integers(0, 256, (*shape, 16), np.uint8),
            f"{name}_scales": rng.integers(127 + exponent - 1, 127 + exponent + 2, shape).astype(np.uint8),
        }

    weights = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN), "model.norm.weight": norm()}
    weights["lm_head.weight"] = matrix(VOCAB, HIDDEN)
    for i in range(LAYERS):
        p, attention, mlp = f"model.layers.{i}", f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
        weights |= {
            f"{p}.input_layernorm.weight": norm(), f"{p}.post_attention_layernorm.weight": norm(),
            f"{attention}.sinks": rng.normal(2, 1, HEADS).astype(np.float32),
            f"{mlp}.router.weight": matrix(EXPERTS, HIDDEN), f"{mlp}.router.bias": matrix(EXPERTS),
            f"{mlp}.experts.gate_up_proj_bias": matrix(EXPERTS, 2 * FEED_FORWARD) * 4,
            f"{mlp}.experts.down_proj_bias": matrix(EXPERTS, HIDDEN) * 4,
        }  # fmt: skip
        for letter, rows, columns in (
            ("q", HEADS * HEAD_DIM, HIDDEN), ("k", KV_HEADS * HEAD_DIM, HIDDEN), ("v", KV_HEADS * HEAD_DIM, HIDDEN),
            ("o", HIDDEN, HEADS * HEAD_DIM),
        ):  # fmt: skip
            weights[f"{attention}.{letter}_proj.weight"] = matrix(rows, columns)
            weights[f"{attention}.{letter}_proj.bias"] = matrix(rows)
        weights |= packed(f"{mlp}.experts.gate_up_proj", 2 * FEED_FORWARD, HIDDEN)
        weights |= packed(f"{mlp}.experts.down_proj", HIDDEN, FEED_FORWARD)
    config = {
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "max_position_embeddings": 512,
        "num_local_experts": EXPERTS, "num_experts_per_tok": 2, "sliding_window": 16, "swiglu_limit": 7.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "attention_bias": True,
        "rope_theta": 10000.0, "rope_scaling": YARN, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 4,
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, folder / name)
    return folder


def unpack(weights: dict[str, np.ndarray], config: dict[str, object]) -> None:
    """Replace MXFP4 experts by plain numbers with inputs first, as the format's definition gives them."""
    for name in [n for n in weights if n.endswith("_blocks")]:
        blocks, scales = weights.pop(name), weights.pop(name.replace("_blocks", "_scales"))
        values = np.stack([E2M1[blocks & 15], E2M1[blocks >> 4]], axis=-1).reshape(*blocks.shape[:-1], 32)
        plain = np.ldexp(values, scales[..., None].astype(np.int32) - 127).reshape(*scales.shape[:-1], -1)
        weights[name.removesuffix("_blocks")] = np.ascontiguousarray(plain.swapaxes(1, 2), np.float32)
    config.pop("quantization_config", None)
