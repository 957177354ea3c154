"""Anonymous memory while a random GGUF of about 1 GB is quantized: of this process, and of the child that does it.

    python benchmarks/quantize_memory.py [--source F32|F16] [--type Q4_K_M] [--experts]

One layer of LLM-jp-4's true width: a Llama, or with --experts a Qwen3MoE with 40 of its 128 experts (3 GB in F32). What
grows with depth is the file alone: llama.cpp maps the source, and holds slabs of rows of one tensor; an importance
matrix grows by the inputs of each weight. Prints the largest RssAnon of both, looked at 50 times a second.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import psutil

from edgellm.engines.gguf.imatrix_file import Entry, Imatrix
from edgellm.engines.gguf.quantize import quantize

VOCAB, DENSE, MOE, EXPERTS, WIDTH = 8192, (4096, 14336), 2048, 40, 960


def make_model(path: Path, experts: bool, dtype: type) -> dict[str, tuple[int, ...]]:
    """Gives the shapes of the weights that an importance matrix covers."""
    hidden, ffn = (MOE, WIDTH) if experts else DENSE
    writer = gguf.GGUFWriter(path, "qwen3moe" if experts else "llama", use_temp_file=True)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(VOCAB)
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_layer_norm_rms_eps(1e-5)
    shapes: dict[str, tuple[int, ...]] = {f"attn_{p}": (hidden, hidden) for p in ("q", "output")}
    shapes |= {f"attn_{p}": (hidden // 4, hidden) for p in ("k", "v")}
    if experts:
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(8)
        writer.add_expert_feed_forward_length(ffn)
        shapes |= {f"ffn_{p}_exps": (EXPERTS, ffn, hidden) for p in ("gate", "up")}
        shapes["ffn_down_exps"] = (EXPERTS, hidden, ffn)
    else:
        shapes |= {"ffn_gate": (ffn, hidden), "ffn_up": (ffn, hidden), "ffn_down": (hidden, ffn)}
    named = {f"blk.0.{name}.weight": shape for name, shape in shapes.items()}
    rng = np.random.default_rng(0)
    for name, shape in {"token_embd.weight": (VOCAB, hidden), **named}.items():
        writer.add_tensor(name, (rng.standard_normal(shape, np.float32) * np.float32(0.02)).astype(dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return named


def anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def largest(work: Callable[[], object]) -> tuple[int, int]:
    """The largest RssAnon of this process and of its child while `work` runs."""
    own = psutil.Process()
    most, ended = [0, 0], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            try:
                found = anonymous(own.pid), max((anonymous(c.pid) for c in own.children()), default=0)
            except (OSError, StopIteration, psutil.Error):
                continue
            most[:] = [max(pair) for pair in zip(most, found, strict=True)]

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return most[0], most[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["F32", "F16"], default="F32")
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--experts", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source.gguf", Path(folder) / "out.gguf"
        shapes = make_model(source, arguments.experts, np.float32 if arguments.source == "F32" else np.float16)
        ones = {
            name: Entry(np.ones((shape[0] if len(shape) == 3 else 1, shape[-1]), np.float32), np.ones(1, np.float32))
            for name, shape in shapes.items()
        }
        before = anonymous(psutil.Process().pid)
        ours, child = largest(
            lambda: quantize(
                source, out, arguments.type, Imatrix(ones, 1, 512), {"_exps": "IQ4_NL"} if arguments.experts else None
            )
        )
        print(
            f"{source.stat().st_size / 1e9:.2f} GB {arguments.source} to {arguments.type}: "
            f"{(ours - before) / 1e6:.0f} MB more in this process, {child / 1e6:.0f} MB in the child"
        )


if __name__ == "__main__":
    main()
