"""PLaMo checkpoint folders for tests: random weights of the true architectures, and a tokenizer of PLaMo's kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from edgellm.language import sentencepiece_model as spm
from tiny_checkpoints import TINY_JA

SPECIAL = [f"<|plamo:{name}|>" for name in ("unk", "bos", "eos", "pad", "op", "msg", "reserved:0x07")]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
Weights = dict[str, np.ndarray]


def write_tokenizer(folder: Path, pieces: int = 1700, **settings: Any) -> int:
    """tokenizer.jsonl and tokenizer_config.json with tiny-ja's pieces and unrounded scores; gives the tokens' number.

    `settings` go into tokenizer_config.json.
    """
    model = spm.read((TINY_JA / "tokenizer.model").read_bytes())
    rows: list[list[object]] = [[name, 0.0, "UNKNOWN" if i == 0 else "CONTROL"] for i, name in enumerate(SPECIAL)]
    rows[4][2] = rows[5][2] = "NORMAL"  # special by their form alone
    rows += [[name, 0.0, "BYTE"] for name in BYTES]
    normal = zip(model.pieces, model.scores, model.types, strict=True)
    ordinary = [(p.replace("▁", " "), s) for p, s, kind in normal if kind == spm.NORMAL]
    rows += [[piece, score, "NORMAL", 0] for piece, score in ordinary[:pieces]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    names = {f"{role}_token": f"<|plamo:{role}|>" for role in ("unk", "bos", "eos", "pad")}
    config = {"tokenizer_class": "Plamo2Tokenizer", "add_bos_token": False, **names, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return len(rows)


class _Random:
    """Random tensors of `scale` times the usual spread, so that faults show in logits."""

    def __init__(self, seed: int, scale: float = 2.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.scale = scale

    def matrix(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) * self.scale / np.sqrt(shape[-1])).astype(np.float32)

    def around(self, middle: float, width: int | tuple[int, ...], by: float = 0.3) -> np.ndarray:
        return (middle + self.rng.uniform(-by, by, width)).astype(np.float32)


def random_plamo2(
    folder: Path, *, layers: int = 4, hidden: int = 256, heads: int = 4, kv_heads: int = 2, head_dim: int = 64,
    mamba_heads: int = 4, state: int = 16, kernel: int = 4, ffn: int = 512, vocab: int = 2048, seed: int = 0,
    tokenizer: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A Plamo2ForCausalLM whose embedding is padded past its vocabulary.

    `more` goes into config.json, `tokenizer` into tokenizer_config.json.
    """
    config = {
        "architectures": ["Plamo2ForCausalLM"], "model_type": "plamo2", "hidden_size": hidden,
        "num_hidden_layers": layers, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "hidden_size_per_head": head_dim, "max_position_embeddings": 10_485_760,
        "attention_window_size": 2048, "full_attention_idx": None, "mamba_d_state": state, "mamba_d_conv": kernel,
        "mamba_num_heads": mamba_heads, "mamba_step": 2, "mamba_chunk_size": 256, "mamba_enabled": True,
        "intermediate_size": ffn, "vocab_size": vocab, "torch_dtype": "float32", **more,
    }  # fmt: skip
    random, inner, time = _Random(seed), mamba_heads * head_dim, max(64, hidden // 16)

    def mixer(layer: int) -> Weights:
        if not config["mamba_enabled"] or layer % config["mamba_step"] == config["mamba_step"] // 2:
            return {
                "qkv_proj.weight": random.matrix((heads + 2 * kv_heads) * head_dim, hidden),
                "o_proj.weight": random.matrix(hidden, heads * head_dim),
                "q_weight": random.around(1.2, (heads, head_dim)), "k_weight": random.around(1.2, (kv_heads, head_dim)),
            }  # fmt: skip
        return {
            "in_proj.weight": random.matrix(2 * inner, hidden), "conv1d.weight": random.matrix(inner, 1, kernel),
            "bcdt_proj.weight": random.matrix(time + 2 * state, inner),
            "dt_proj.weight": random.matrix(mamba_heads, time),
            "dt_bias": random.around(-1.0, mamba_heads, 0.5), "A_log": random.around(0.0, mamba_heads, 1.0),
            "D": random.around(1.0, mamba_heads), "dt_norm_weight": random.around(1.0, time),
            "B_norm_weight": random.around(1.0, state), "C_norm_weight": random.around(1.0, state),
            "out_proj.weight": random.matrix(hidden, inner),
        }  # fmt: skip

    return _write(folder, config, random, mixer, tokenizer or {})


def random_plamo3(
    folder: Path, *, layers: int = 8, hidden: int = 128, heads: int = 4, kv_heads: int = 2, head_dim: int = 32,
    ffn: int = 256, vocab: int = 2048, window: int = 24, seed: int = 0,
    tokenizer: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A Plamo3ForCausalLM; `more` and `tokenizer` as for `random_plamo2`."""
    config = {
        "architectures": ["Plamo3ForCausalLM"], "model_type": "plamo3", "hidden_size": hidden,
        "num_hidden_layers": layers, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim, "max_position_embeddings": 4096, "window_size": window,
        "sliding_window_pattern": 8, "rope_theta": 1_000_000, "rope_local_theta": 10_000, "intermediate_size": ffn,
        "vocab_size": vocab, "torch_dtype": "float32", **more,
    }  # fmt: skip
    random = _Random(seed)

    def mixer(layer: int) -> Weights:
        return {
            "qkv_proj.weight": random.matrix((heads + 2 * kv_heads) * head_dim, hidden),
            "o_proj.weight": random.matrix(hidden, heads * head_dim),
            "q_norm.weight": random.around(0.2, head_dim), "k_norm.weight": random.around(0.2, head_dim),
        }  # fmt: skip

    settings = {"tokenizer_class": "Plamo3Tokenizer", **(tokenizer or {})}
    return _write(folder, config, random, mixer, settings)


def _write(
    folder: Path, config: dict[str, Any], random: _Random, mixer: Callable[[int], Weights], tokenizer: dict[str, Any]
) -> Path:
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    weights = {"model.embed_tokens.weight": random.matrix(config["vocab_size"], hidden)}
    weights["model.norm.weight"] = random.around(0.0, hidden)
    for i in range(config["num_hidden_layers"]):
        name = f"model.layers.layers.{i}"
        weights |= {f"{name}.mixer.{part}": values for part, values in mixer(i).items()}
        weights |= {
            f"{name}.mlp.gate_up_proj.weight": random.matrix(2 * ffn, hidden),
            f"{name}.mlp.down_proj.weight": random.matrix(hidden, ffn),
            f"{name}.pre_mixer_norm.weight": random.around(0.0, hidden),
            f"{name}.post_mixer_norm.weight": random.around(0.2, hidden, 0.1),
            f"{name}.pre_mlp_norm.weight": random.around(0.0, hidden),
            f"{name}.post_mlp_norm.weight": random.around(0.2, hidden, 0.1),
        }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_tokenizer(folder, **tokenizer)
    return folder
