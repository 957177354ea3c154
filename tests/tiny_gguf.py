"""GGUF files with random weights and no vocabulary, for what needs no text, and with a vocabulary and no weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from edgellm.engines.gguf.vocabulary_record import Vocabulary

VOCAB = 512
EXPERTS, EXPERTS_USED = 8, 2


def write_gguf(path: Path, architecture: str, metadata: Mapping[str, float], tensors: Mapping[str, np.ndarray]) -> Path:
    """Metadata keys without the architecture in front; whole numbers become u32, others f32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(len(tensors["token_embd.weight"]))
    for key, value in metadata.items():
        add = writer.add_uint32 if isinstance(value, int) else writer.add_float32
        add(f"{architecture}.{key}", value)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary_gguf(path: Path, vocabulary: Vocabulary, architecture: str = "llama") -> Path:
    """A GGUF without tensors; llama.cpp asks for the shape even where it loads nothing but the vocabulary."""
    writer = gguf.GGUFWriter(path, architecture)
    for add in (writer.add_context_length, writer.add_embedding_length, writer.add_block_count, writer.add_head_count):
        add(1)
    writer.add_feed_forward_length(1)
    writer.add_layer_norm_rms_eps(1e-5)
    vocabulary.write(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def dense_gguf(
    path: Path, *, layers: int = 1, hidden: int = 256, ffn: int = 256, tied: bool = False, seed: int = 0
) -> Path:
    """A Llama in F16 with 4 heads and 2 KV heads."""
    random = Random(seed)
    tensors = {"token_embd.weight": random.matrix(VOCAB, hidden), "output_norm.weight": random.norm(hidden)}
    if not tied:
        tensors["output.weight"] = random.matrix(VOCAB, hidden)
    for i in range(layers):
        tensors |= random.attention(f"blk.{i}", hidden) | {
            f"blk.{i}.ffn_norm.weight": random.norm(hidden),
            f"blk.{i}.ffn_gate.weight": random.matrix(ffn, hidden),
            f"blk.{i}.ffn_up.weight": random.matrix(ffn, hidden),
            f"blk.{i}.ffn_down.weight": random.matrix(hidden, ffn),
        }
    return write_gguf(path, "llama", common_metadata(layers, hidden, ffn), tensors)


def experts_gguf(path: Path, *, layers: int = 1, hidden: int = 256, width: int = 96, seed: int = 0) -> Path:
    """A Qwen3MoE in F16 with 8 experts of `width`, 2 of them used for each token."""
    random = Random(seed)
    tensors = {
        "token_embd.weight": random.matrix(VOCAB, hidden), "output_norm.weight": random.norm(hidden),
        "output.weight": random.matrix(VOCAB, hidden),
    }  # fmt: skip
    for i in range(layers):
        tensors |= random.attention(f"blk.{i}", hidden) | {
            f"blk.{i}.attn_q_norm.weight": random.norm(hidden // 4),
            f"blk.{i}.attn_k_norm.weight": random.norm(hidden // 4),
            f"blk.{i}.ffn_norm.weight": random.norm(hidden),
            f"blk.{i}.ffn_gate_inp.weight": random.matrix(EXPERTS, hidden).astype(np.float32),
            f"blk.{i}.ffn_gate_exps.weight": random.matrix(EXPERTS, width, hidden),
            f"blk.{i}.ffn_up_exps.weight": random.matrix(EXPERTS, width, hidden),
            f"blk.{i}.ffn_down_exps.weight": random.matrix(EXPERTS, hidden, width),
        }
    return write_gguf(path, "qwen3moe", common_metadata(layers, hidden, width) | expert_metadata(width), tensors)


def common_metadata(layers: int, hidden: int, ffn: int) -> dict[str, float]:
    return {
        "block_count": layers, "context_length": 512, "embedding_length": hidden, "feed_forward_length": ffn,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    }  # fmt: skip


def expert_metadata(width: int) -> dict[str, float]:
    return {"expert_count": EXPERTS, "expert_used_count": EXPERTS_USED, "expert_feed_forward_length": width}


class Random:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def matrix(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) * 2 / np.sqrt(shape[-1])).astype(np.float16)

    def norm(self, width: int) -> np.ndarray:
        return self.rng.uniform(0.5, 1.5, width).astype(np.float32)

    def attention(self, layer: str, hidden: int) -> dict[str, np.ndarray]:
        return {
            f"{layer}.attn_norm.weight": self.norm(hidden),
            f"{layer}.attn_q.weight": self.matrix(hidden, hidden),
            f"{layer}.attn_k.weight": self.matrix(hidden // 2, hidden),
            f"{layer}.attn_v.weight": self.matrix(hidden // 2, hidden),
            f"{layer}.attn_output.weight": self.matrix(hidden, hidden),
        }
