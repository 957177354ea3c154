"""Make the model that the serving benchmarks serve: a Llama of random weights and true shape, in Q4_K_M.

    python benchmarks/serving_model.py OUT [--vocabulary FOLDER] [--layers 16] [--hidden 1024] [--type Q4_K_M]

Speed depends on shapes and types, hardly on values. `--vocabulary` is a folder of tokenizer files whose vocabulary the
model gets, by default tiny-ja's 8,192 pieces; one of 196,608 pieces makes the output layer the larger part of a small
model. OUT becomes a bundle folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import edgellm
from edgellm.language.tokenizer import load_tokenizer

TINY_JA = Path(edgellm.__file__).parent / "models" / "tiny-ja"
FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip


def checkpoint(folder: Path, vocabulary: Path, layers: int, hidden: int, context: int = 8192) -> None:
    """A LlamaForCausalLM with heads of 64, four query heads to a key head, FFN 2.75 times as wide, tied embeddings."""
    rng = np.random.default_rng(0)
    tokenizer = load_tokenizer(vocabulary)
    heads, ffn = hidden // 64, hidden * 11 // 4 // 256 * 256
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.vocab_tokens,
        "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads // 4, "head_dim": 64, "max_position_embeddings": context, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "float16",
        "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id,
    }  # fmt: skip

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns), np.float32) / np.sqrt(columns)).astype(np.float16)

    norm = np.ones(hidden, np.float16)
    weights = {"model.embed_tokens.weight": matrix(tokenizer.vocab_tokens, hidden), "model.norm.weight": norm}
    for i in range(layers):
        p = f"model.layers.{i}"
        weights |= {
            f"{p}.input_layernorm.weight": norm, f"{p}.post_attention_layernorm.weight": norm,
            f"{p}.self_attn.q_proj.weight": matrix(hidden, hidden),
            f"{p}.self_attn.k_proj.weight": matrix(hidden // 4, hidden),
            f"{p}.self_attn.v_proj.weight": matrix(hidden // 4, hidden),
            f"{p}.self_attn.o_proj.weight": matrix(hidden, hidden),
            f"{p}.mlp.gate_proj.weight": matrix(ffn, hidden), f"{p}.mlp.up_proj.weight": matrix(ffn, hidden),
            f"{p}.mlp.down_proj.weight": matrix(hidden, ffn),
        }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for name in FILES:
        if (vocabulary / name).is_file():
            shutil.copyfile(vocabulary / name, folder / name)
    count = sum(weight.size for weight in weights.values())
    print(f"{count:,} parameters: {layers} layers, hidden {hidden}, FFN {ffn}, vocabulary {tokenizer.vocab_tokens:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocabulary", type=Path, default=TINY_JA)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--type", default="Q4_K_M")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "checkpoint"
        checkpoint(source, given.vocabulary, given.layers, given.hidden)
        command = ["quantize", str(source), "--type", given.type, "--calibration", "none", "--gate", "none"]
        subprocess.run([sys.executable, "-m", "edgellm", *command, "--out", str(given.out)], check=True)


if __name__ == "__main__":
    main()
