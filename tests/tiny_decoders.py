"""Checkpoint folders for tests: random weights in the shapes that transformers itself gives to a class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tiny_checkpoints import TINY_JA, TOKENIZER_FILES

# Whatever can differ from the usual does: heads wider than their share, experts of 96 or 160 (no multiple of 256).
_DENSE = {"intermediate_size": 256, "tie_word_embeddings": False}
_QWEN3 = {"head_dim": 64, "tie_word_embeddings": True}
CLASSES: dict[str, dict[str, Any]] = {
    "MistralForCausalLM": {"model_type": "mistral", **_DENSE, "head_dim": 64, "sliding_window": None},
    "MixtralForCausalLM": {
        "model_type": "mixtral", **_DENSE, "intermediate_size": 160, "num_local_experts": 8, "num_experts_per_tok": 2,
        "rope_theta": 1e6,
    },
    "Qwen2ForCausalLM": {"model_type": "qwen2", **_DENSE},
    "Qwen3ForCausalLM": {"model_type": "qwen3", **_DENSE, **_QWEN3},
    "Qwen3MoeForCausalLM": {
        "model_type": "qwen3_moe", **_QWEN3, "intermediate_size": 256, "moe_intermediate_size": 96, "num_experts": 16,
        "num_experts_per_tok": 4, "norm_topk_prob": True, "mlp_only_layers": [], "decoder_sparse_step": 1,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
SHAPE = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 8192,
    "max_position_embeddings": 512, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 4, "torch_dtype": "float32",
}  # fmt: skip


def random_decoder(folder: Path, architecture: str, *, scale: float = 2.0, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint with tiny-ja's tokenizer and weights `scale` times the spread that keeps activations level.

    `changes` go to config.json. Names and shapes are those of transformers' own class.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = {"architectures": [architecture], **SHAPE, **CLASSES[architecture], **changes}
    with torch.device("meta"):
        model = getattr(transformers, architecture)(transformers.AutoConfig.for_model(**config))
    rng = np.random.default_rng(seed)
    weights = {name: _random(rng, tuple(p.shape), scale) for name, p in model.named_parameters()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, folder / name)
    return folder


def _random(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """A matrix, or for a vector (a norm or a bias) numbers around 1."""
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (rng.standard_normal(shape) * scale / np.sqrt(shape[-1])).astype(np.float32)
