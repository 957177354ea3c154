"""What collecting an importance matrix costs beside plain prompt processing of the same chunks, in turn.

    python benchmarks/calibration_cost.py [--chunks 12]

Two random models of 24 layers, made in a temporary folder of 2.5 GB: a Llama, and a Qwen3MoE of 32 experts, 8 used,
480 wide. Prompt processing asks for the last token's logits only, as an engine bench does, so that llama.cpp leaves
out most of the last layer, which a calibration needs. Prints medians of processor seconds on one thread, which other
programs do not stretch, and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import process_time

import gguf
import llama_cpp
import numpy as np

from edgellm.engines.gguf import imatrix_child, loading
from edgellm.engines.gguf.batch import Batch
from edgellm.engines.protocol import Feed

HIDDEN, HEADS, KV_HEADS, VOCAB, CHUNK = 1024, 8, 2, 32_000, 512
EXPERTS, USED, WIDTH = 32, 8, 480
LAYERS = 24
RNG = np.random.default_rng(0)


def matrix(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))).astype(np.float16)


def make_model(path: Path, experts: bool) -> Path:
    architecture = "qwen3moe" if experts else "llama"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(VOCAB)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CHUNK)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDTH if experts else 3 * HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    if experts:
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(USED)
        writer.add_expert_feed_forward_length(WIDTH)
    ones, kv = np.ones(HIDDEN, np.float32), HIDDEN // HEADS * KV_HEADS
    for name, values in (
        ("token_embd", matrix(VOCAB, HIDDEN)),
        ("output", matrix(VOCAB, HIDDEN)),
        ("output_norm", ones),
    ):
        writer.add_tensor(f"{name}.weight", values)
    layer = {
        "attn_norm": ones, "ffn_norm": ones, "attn_q": matrix(HIDDEN, HIDDEN), "attn_k": matrix(kv, HIDDEN),
        "attn_v": matrix(kv, HIDDEN), "attn_output": matrix(HIDDEN, HIDDEN),
    }  # fmt: skip
    if experts:
        layer |= {"attn_q_norm": ones[: HIDDEN // HEADS], "attn_k_norm": ones[: HIDDEN // HEADS]}
        layer |= {f"ffn_{part}_exps": matrix(EXPERTS, WIDTH, HIDDEN) for part in ("gate", "up")}
        layer["ffn_down_exps"] = matrix(EXPERTS, HIDDEN, WIDTH)
        layer["ffn_gate_inp"] = matrix(EXPERTS, HIDDEN).astype(np.float32)
    else:
        layer |= {f"ffn_{part}": matrix(3 * HIDDEN, HIDDEN) for part in ("gate", "up")}
        layer["ffn_down"] = matrix(HIDDEN, 3 * HIDDEN)
    for i in range(LAYERS):
        for name, values in layer.items():
            writer.add_tensor(f"blk.{i}.{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def prefill(context: object, batch: Batch, ids: np.ndarray) -> None:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch.fill([Feed(0, ids.tolist(), "last")], ids.astype(np.int64), [0])
    assert llama_cpp.llama_decode(context, batch.struct) == 0
    llama_cpp.llama_synchronize(context)


def measure(path: Path, chunks: np.ndarray) -> tuple[list[float], list[float]]:
    """Processor seconds of each chunk's prompt processing and of its collecting; the first chunk only warms up."""
    model = loading.load_model(path)
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = CHUNK
    settings.n_threads = settings.n_threads_batch = 1
    without = llama_cpp.llama_init_from_model(model, settings)
    collector = imatrix_child.Collector(with_output=False)
    context, _callback = imatrix_child.open_context(path, model, CHUNK, 1, collector)
    batch, plain, collecting = Batch(CHUNK, CHUNK), [], []
    for number, ids in enumerate(chunks):
        began = process_time()
        prefill(without, batch, ids)
        between = process_time()
        imatrix_child.decode(context, batch, ids, collector, number)
        plain.append(between - began)
        collecting.append(process_time() - between)
    for opened in (without, context):
        llama_cpp.llama_free(opened)
    llama_cpp.llama_model_free(model)
    return plain[1:], collecting[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=12)
    arguments = parser.parse_args()
    chunks = RNG.integers(0, VOCAB, (arguments.chunks + 1, CHUNK)).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("dense", "experts"):
            path = make_model(Path(folder) / f"{name}.gguf", experts=name == "experts")
            plain, collecting = (statistics.median(times) for times in measure(path, chunks))
            print(
                f"{name}: prefill {CHUNK / plain:.0f} tok/s, collecting {CHUNK / collecting:.0f} tok/s, "
                f"ratio {collecting / plain:.3f}"
            )
            path.unlink()


if __name__ == "__main__":
    main()
