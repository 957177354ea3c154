"""A tiny DeepseekV3ForCausalLM with random weights, in float32 or in blocks of FP8."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tiny_checkpoints import TINY_JA, TOKENIZER_FILES

LAYERS, DENSE, HIDDEN, HEADS, VOCAB = 3, 1, 64, 4, 8192
Q_RANK, KV_RANK, ROTARY, PLAIN, VALUE = 48, 32, 16, 24, 20
EXPERTS, SHARED, EXPERT_WIDTH, FEED_FORWARD = 8, 1, 32, 96
FP8_BLOCK = (16, 32)

YARN = {
    "type": "yarn", "factor": 8.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def random_deepseek(
    folder: Path, *, seed: int = 0, scale: float = 2.0, further_layers: int = 0, **changes: object
) -> Path:  # fmt: skip
    """Weights `scale` times the usual spread, so that faults show; `changes` go into config.json.

    `further_layers` come after the last, as DeepSeek publishes one that predicts the token after the next.
    """
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        # Through float16, so that an F16 file holds them exactly.
        return (rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float16).astype(np.float32)

    def norm(width: int = HIDDEN) -> np.ndarray:
        return rng.uniform(0.5, 1.5, width).astype(np.float32)

    def feed_forward(name: str, width: int) -> dict[str, np.ndarray]:
        shapes = {"gate_proj": (width, HIDDEN), "up_proj": (width, HIDDEN), "down_proj": (HIDDEN, width)}
        return {f"{name}.{part}.weight": matrix(*shape) for part, shape in shapes.items()}

    weights = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN), "model.norm.weight": norm()}
    weights["lm_head.weight"] = matrix(VOCAB, HIDDEN)
    for i in range(LAYERS + further_layers):
        p, attention, mlp = f"model.layers.{i}", f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
        weights |= {
            f"{p}.input_layernorm.weight": norm(), f"{p}.post_attention_layernorm.weight": norm(),
            f"{attention}.q_a_proj.weight": matrix(Q_RANK, HIDDEN), f"{attention}.q_a_layernorm.weight": norm(Q_RANK),
            f"{attention}.q_b_proj.weight": matrix(HEADS * (PLAIN + ROTARY), Q_RANK),
            f"{attention}.kv_a_proj_with_mqa.weight": matrix(KV_RANK + ROTARY, HIDDEN),
            f"{attention}.kv_a_layernorm.weight": norm(KV_RANK),
            f"{attention}.kv_b_proj.weight": matrix(HEADS * (PLAIN + VALUE), KV_RANK),
            f"{attention}.o_proj.weight": matrix(HIDDEN, HEADS * VALUE),
        }  # fmt: skip
        if i < DENSE:
            weights |= feed_forward(mlp, FEED_FORWARD)
            continue
        weights |= feed_forward(f"{mlp}.shared_experts", SHARED * EXPERT_WIDTH)
        weights[f"{mlp}.gate.weight"] = matrix(EXPERTS, HIDDEN)
        # Above 0: where a score falls below, transformers takes experts of groups that were not chosen.
        weights[f"{mlp}.gate.e_score_correction_bias"] = rng.uniform(0, 0.5, EXPERTS).astype(np.float32)
        for expert in range(EXPERTS):
            weights |= feed_forward(f"{mlp}.experts.{expert}", EXPERT_WIDTH)
    if further_layers:
        weights[f"model.layers.{LAYERS}.eh_proj.weight"] = matrix(HIDDEN, 2 * HIDDEN)
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": VOCAB,
        "hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "moe_intermediate_size": EXPERT_WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "q_lora_rank": Q_RANK, "kv_lora_rank": KV_RANK, "qk_rope_head_dim": ROTARY, "qk_nope_head_dim": PLAIN,
        "v_head_dim": VALUE, "n_routed_experts": EXPERTS, "n_shared_experts": SHARED, "num_experts_per_tok": 2,
        "first_k_dense_replace": DENSE, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_group": 4,
        "topk_group": 2, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "num_nextn_predict_layers": 1,
        "max_position_embeddings": 512, "rope_theta": 10000.0, "rope_scaling": YARN, "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 4, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, folder / name)
    return folder


def to_fp8(weights: dict[str, np.ndarray], config: dict[str, object]) -> dict[str, np.ndarray]:
    """Round the layers' matrices to blocks of FP8, in place; gives the float32 values that they then stand for.

    Embedding, output and router keep their type, as in what DeepSeek publishes.
    """
    ml_dtypes = pytest.importorskip("ml_dtypes")
    exact = {}
    for name in [n for n in weights if n.endswith("_proj.weight") or n.endswith("_with_mqa.weight")]:
        rows, columns = weights[name].shape
        padded = np.zeros([-(-n // size) * size for n, size in zip((rows, columns), FP8_BLOCK, strict=True)])
        padded[:rows, :columns] = weights[name]
        blocks = padded.reshape(-(-rows // FP8_BLOCK[0]), FP8_BLOCK[0], -(-columns // FP8_BLOCK[1]), FP8_BLOCK[1])
        scales = (np.abs(blocks).max((1, 3), keepdims=True) / 448).astype(np.float32)
        codes = (blocks / scales).astype(ml_dtypes.float8_e4m3fn)
        exact[name] = (codes.astype(np.float32) * scales).reshape(padded.shape)[:rows, :columns]
        weights[name] = np.ascontiguousarray(codes.reshape(padded.shape)[:rows, :columns])
        weights[f"{name}_scale_inv"] = scales[:, 0, :, 0]
    config["quantization_config"] = {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": list(FP8_BLOCK),
    }  # fmt: skip
    return exact
