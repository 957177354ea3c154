"""Checkpoint folders for tests: random weights of a true architecture with tiny-ja's real tokenizer files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import edgellm

TINY_JA = Path(edgellm.__file__).parent / "models" / "tiny-ja"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja")


def random_llama(
    folder: Path, *, layers: int = 2, hidden: int = 256, heads: int = 4, kv_heads: int = 2, ffn: int = 512,
    tied: bool = False, scale: float = 2.0, seed: int = 0, theta: float = 10000.0, dtype: type = np.float32,
    head_dim: int | None = None, vocab: int = 8192, biases: bool = False, rope_scaling: dict[str, object] | None = None,
) -> Path:  # fmt: skip
    """A LlamaForCausalLM with weights `scale` times the usual initial spread, so that faults show in logits."""
    rng = np.random.default_rng(seed)
    head_dim = head_dim or hidden // heads
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden,
        "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim, "max_position_embeddings": 1024,
        "rope_theta": theta, "rope_scaling": rope_scaling, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": tied, "attention_bias": biases, "mlp_bias": biases, "torch_dtype": np.dtype(dtype).name,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 4,
    }  # fmt: skip

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(dtype)

    def norm() -> np.ndarray:
        return rng.uniform(0.5, 1.5, hidden).astype(dtype)

    weights = {"model.embed_tokens.weight": matrix(vocab, hidden), "model.norm.weight": norm()}
    if not tied:
        weights["lm_head.weight"] = matrix(vocab, hidden)
    for i in range(layers):
        p = f"model.layers.{i}"
        weights |= {
            f"{p}.input_layernorm.weight": norm(), f"{p}.post_attention_layernorm.weight": norm(),
            f"{p}.self_attn.q_proj.weight": matrix(heads * head_dim, hidden),
            f"{p}.self_attn.k_proj.weight": matrix(kv_heads * head_dim, hidden),
            f"{p}.self_attn.v_proj.weight": matrix(kv_heads * head_dim, hidden),
            f"{p}.self_attn.o_proj.weight": matrix(hidden, heads * head_dim),
            f"{p}.mlp.gate_proj.weight": matrix(ffn, hidden), f"{p}.mlp.up_proj.weight": matrix(ffn, hidden),
            f"{p}.mlp.down_proj.weight": matrix(hidden, ffn),
        }  # fmt: skip
    if biases:
        projections = [n for n in weights if n.endswith("_proj.weight")]
        weights |= {n.replace(".weight", ".bias"): matrix(1, weights[n].shape[0])[0] for n in projections}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, folder / name)
    return folder
