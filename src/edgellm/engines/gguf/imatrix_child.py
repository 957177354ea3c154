"""The process that collects an importance matrix: `python -m edgellm.engines.gguf.imatrix_child`.

llama.cpp calls back for every node of its compute graph; at each matrix product with a weight we add up the
squares of what goes in. What is collected, and how it is counted, is what llama.cpp's `tools/imatrix` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edgellm.engines.cores import usable_cores
from edgellm.engines.gguf import child, ggml_tensor, library, loading
from edgellm.engines.gguf.batch import Batch
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix, write_imatrix
from edgellm.engines.protocol import Feed
from edgellm.errors import BadInput, EngineFailed

FEWEST_ROWS = 16  # dense products with fewer rows are not looked at
SUM_TYPE = np.float64  # files hold float32; sums over many chunks are kept wider


@dataclass
class Sums:
    in_sum2: NDArray[np.float64]  # (matrices, inputs)
    counts: NDArray[np.int64]  # (matrices,), or (1,) for a dense weight


@dataclass
class Collector:
    """Holds the sums, and the first exception of the callback: ctypes would print it and go on."""

    with_output: bool
    sums: dict[str, Sums] = field(default_factory=dict)
    failure: BaseException | None = None

    def __call__(self, address: int, ask: bool, _user_data: object) -> bool:
        """ggml_backend_sched_eval_callback: whether the node interests us, and later whether to go on."""
        try:
            if ask:
                return self.interests(ggml_tensor.at(address))
            self.look(ggml_tensor.at(address))
        except BaseException as e:
            self.failure = self.failure or e
            return False
        return True

    def interests(self, node: ggml_tensor.GgmlTensor) -> bool:
        if node.op == ggml_tensor.operation("MUL_MAT_ID"):
            return True
        if node.op != ggml_tensor.operation("MUL_MAT"):
            return False
        rows = ggml_tensor.at(node.src[1])
        if rows.type != ggml_tensor.F32 or rows.ne[1] < FEWEST_ROWS:
            return False
        weight = weight_name(node)
        return weight.startswith("blk.") or (self.with_output and weight == "output.weight")

    def look(self, node: ggml_tensor.GgmlTensor) -> None:
        weight = weight_name(node)
        matrices = ggml_tensor.at(node.src[0]).ne[2:4]
        rows: NDArray[Any] = ggml_tensor.rows_of(node.src[1])
        if node.op == ggml_tensor.operation("MUL_MAT_ID"):
            chosen: NDArray[Any] = ggml_tensor.rows_of(node.src[2])[0, 0]
            touched = add_experts(self.sums, weight, matrices[0], rows[0], chosen)
        else:
            touched = add_dense(self.sums, weight, matrices, rows)
        if not np.isfinite(touched).all():
            raise BadInput(f"the model computes values that are not finite at the input of {weight}; check its file")


def weight_name(node: ggml_tensor.GgmlTensor) -> str:
    """The name of a product's weight; a device's copy is called `DEVICE#name#number`."""
    parts = bytes(ggml_tensor.at(node.src[0]).name).decode("utf-8", "replace").split("#")
    return parts[1] if len(parts) > 1 else parts[0]


def add_dense(
    sums: dict[str, Sums], weight: str, matrices: Sequence[int], rows: NDArray[np.float32]
) -> NDArray[np.float64]:  # fmt: skip
    """Add the squares of rows (ne3, ne2, rows, inputs) of a product with (ne2, ne3) stacked matrices.

    All matrices share one count, and stand after one another in one row of sums.
    """
    outer, inner, count, inputs = rows.shape
    stacked = matrices[0] * matrices[1]
    mine = sums.get(weight)
    if mine is None:
        mine = sums[weight] = Sums(np.zeros((1, stacked * inputs), SUM_TYPE), np.zeros(1, np.int64))
    by_matrix = mine.in_sum2.reshape(stacked, inputs)
    for i in range(outer):
        for j in range(inner):
            matrix = (i % matrices[1]) * matrices[0] + j % matrices[0]
            by_matrix[matrix] += np.einsum("ri,ri->i", rows[i, j], rows[i, j])
    mine.counts += outer * inner * count // stacked
    return mine.in_sum2


def add_experts(
    sums: dict[str, Sums], weight: str, experts: int, rows: NDArray[np.float32], chosen: NDArray[np.int32]
) -> NDArray[np.float64]:  # fmt: skip
    """Add the squares of rows (tokens, rows a token, inputs) to the experts `chosen` (tokens, experts).

    Where a token has one row, all its experts see it; where it has as many as experts, each sees its own.
    """
    _, per_token, inputs = rows.shape
    mine = sums.get(weight)
    if mine is None:
        mine = sums[weight] = Sums(np.zeros((experts, inputs), SUM_TYPE), np.zeros(experts, np.int64))
    order = np.argsort(chosen, axis=None, kind="stable")
    token, place = np.divmod(order, chosen.shape[1])
    place %= per_token
    ends = np.cumsum(np.bincount(chosen.ravel(), minlength=experts))
    for expert, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        if start < end:
            seen = rows[token[start:end], place[start:end]]
            mine.in_sum2[expert] += np.einsum("ri,ri->i", seen, seen)
    mine.counts += np.diff(ends, prepend=0)
    return mine.in_sum2


def collect(request: dict[str, Any], payload: bytearray) -> Mapping[str, object]:
    """Decode each chunk from an empty cache with the collector listening, and write the matrix at `out`."""
    ggml_tensor.check_layout()
    path, lengths = Path(request["model"]), request["lengths"]
    ids = np.frombuffer(payload, np.int32)
    model = loading.load_model(path)
    loading.check_model(path, model)
    check_ids(path, model, ids)
    collector = Collector(request["output_weight"])
    context, _callback = open_context(path, model, max(lengths), request["threads"], collector)
    batch = Batch(max(lengths), max(lengths))
    memory = llama_cpp.llama_get_memory(context)
    for number, chunk in enumerate(np.split(ids, np.cumsum(lengths)[:-1]), start=1):
        llama_cpp.llama_memory_clear(memory, True)
        # Logits of every token are asked for: the last layer is computed only where there is an output.
        batch.fill([Feed(0, chunk.tolist(), "all")], chunk.astype(np.int64), [0])
        code = llama_cpp.llama_decode(context, batch.struct)
        if collector.failure is not None:
            raise collector.failure
        if code != 0:
            raise EngineFailed(f"llama.cpp could not decode chunk {number} of the calibration text (code {code})")
        child.log(b"chunk %d/%d\n" % (number, len(lengths)))
    entries = {
        name: Entry(s.in_sum2.astype(np.float32), s.counts.astype(np.float32)) for name, s in collector.sums.items()
    }
    write_imatrix(Path(request["out"]), Imatrix(entries, len(lengths), request["chunk_tokens"]))
    return {}


def check_ids(path: Path, model: Any, ids: NDArray[np.int32]) -> None:
    vocab_tokens = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    if ids.min() < 0 or ids.max() >= vocab_tokens:
        raise BadInput(
            f"the calibration text has token ids up to {ids.max()} and {path} has {vocab_tokens} tokens: "
            "encode the text with this model's tokenizer"
        )


def open_context(path: Path, model: Any, tokens: int, threads: int, collector: Collector) -> tuple[Any, Any]:
    """A context of one sequence with the collector listening, and the callback, which must outlive it."""
    callback = llama_cpp.ggml_backend_sched_eval_callback(collector)
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = tokens
    settings.n_seq_max = 1
    settings.n_threads = settings.n_threads_batch = threads or usable_cores()
    settings.cb_eval = callback
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise EngineFailed(
            f"llama.cpp could not set up {tokens} tokens of context for {path} "
            f"({library.log.reason() or 'it gave no reason'}); free memory or use shorter chunks"
        )
    return context, callback


if __name__ == "__main__":
    child.serve(collect)
