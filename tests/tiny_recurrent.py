"""GGUF files of recurrent families with random weights: the engine paths that a Llama never takes."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

VOCAB = 256


class _Random:
    """Adds random tensors to a GGUF file; shapes are numpy's, (rows, columns)."""

    def __init__(self, path: Path, architecture: str, seed: int, context: int = 512) -> None:
        self.writer = gguf.GGUFWriter(path, architecture)
        self.rng = np.random.default_rng(seed)
        self.writer.add_tokenizer_model("no_vocab")
        self.writer.add_vocab_size(VOCAB)
        self.writer.add_context_length(context)
        self.writer.add_layer_norm_rms_eps(1e-5)

    def matrix(self, name: str, *shape: int) -> None:
        self.tensor(name, self.rng.standard_normal(shape) * 2 / np.sqrt(shape[-1]))

    def norm(self, name: str, *shape: int) -> None:
        self.tensor(name, self.rng.uniform(0.5, 1.5, shape))

    def tensor(self, name: str, values: np.ndarray) -> None:
        self.writer.add_tensor(name, values.astype(np.float32))

    def close(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def mamba_gguf(path: Path, *, layers: int = 2, hidden: int = 64, context: int = 512, seed: int = 0) -> Path:
    """A Mamba model: only a state a sequence, no KV cache."""
    inner, state, rank, kernel = 2 * hidden, 8, 8, 4
    file = _Random(path, "mamba", seed, context)
    writer = file.writer
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    file.matrix("token_embd.weight", VOCAB, hidden)
    file.norm("output_norm.weight", hidden)
    for i in range(layers):
        file.norm(f"blk.{i}.attn_norm.weight", hidden)
        file.matrix(f"blk.{i}.ssm_in.weight", 2 * inner, hidden)
        file.matrix(f"blk.{i}.ssm_conv1d.weight", inner, kernel)
        file.matrix(f"blk.{i}.ssm_conv1d.bias", inner)
        file.matrix(f"blk.{i}.ssm_x.weight", rank + 2 * state, inner)
        file.matrix(f"blk.{i}.ssm_dt.weight", inner, rank)
        file.matrix(f"blk.{i}.ssm_dt.bias", inner)
        file.tensor(f"blk.{i}.ssm_a", -np.exp(file.rng.uniform(-2, 0, (inner, state))))
        file.norm(f"blk.{i}.ssm_d", inner)
        file.matrix(f"blk.{i}.ssm_out.weight", hidden, inner)
    file.close()
    return path


def plamo2_gguf(path: Path, *, first_heads: int = 2, seed: int = 0) -> Path:
    """A PLaMo 2 model of one Mamba and one attention layer, with zeros only in `head_count_kv`.

    `first_heads=0` writes what llama.cpp's own converter writes for a Mamba layer, and llama.cpp hangs on it.
    """
    hidden, heads, head, state, kernel, time_width, ffn = 64, 2, 32, 16, 4, 64, 128
    inner = heads * head
    file = _Random(path, "plamo2", seed)
    writer = file.writer
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(ffn)
    writer.add_block_count(2)
    writer.add_head_count([first_heads, heads])
    writer.add_head_count_kv([0, 1])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(10000.0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(0)
    file.matrix("token_embd.weight", VOCAB, hidden)
    file.norm("output_norm.weight", hidden)
    for i in range(2):
        file.norm(f"blk.{i}.attn_norm.weight", hidden)
        file.norm(f"blk.{i}.post_attention_norm", hidden)
        file.norm(f"blk.{i}.ffn_norm.weight", hidden)
        file.norm(f"blk.{i}.post_ffw_norm", hidden)
        file.matrix(f"blk.{i}.ffn_up.weight", 2 * ffn, hidden)
        file.matrix(f"blk.{i}.ffn_down.weight", hidden, ffn)
    file.matrix("blk.0.ssm_in.weight", 2 * inner, hidden)
    file.matrix("blk.0.ssm_conv1d.weight", inner, kernel)
    file.matrix("blk.0.ssm_x.weight", time_width + 2 * state, inner)
    file.matrix("blk.0.ssm_dt.weight", heads, time_width)
    file.matrix("blk.0.ssm_dt.bias", heads)
    file.tensor("blk.0.ssm_a", -np.exp(file.rng.uniform(-2, 0, heads)))
    file.norm("blk.0.ssm_d", heads)
    file.matrix("blk.0.ssm_out.weight", hidden, inner)
    file.norm("blk.0.ssm_dt_norm", time_width)
    file.norm("blk.0.ssm_b_norm", state)
    file.norm("blk.0.ssm_c_norm", state)
    file.matrix("blk.1.attn_qkv.weight", heads * head + 2 * head, hidden)
    file.norm("blk.1.attn_q_norm.weight", heads, head)
    file.norm("blk.1.attn_k_norm.weight", 1, head)
    file.matrix("blk.1.attn_output.weight", hidden, heads * head)
    file.close()
    return path
