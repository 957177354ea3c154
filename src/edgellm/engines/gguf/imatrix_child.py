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
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput, EngineFailed

FEWEST_ROWS = 16  # dense products with fewer rows are not looked at
SUM_TYPE = np.float64  # files hold float32; sums over many chunks are kept wider
LAST_NODE = b"result_norm"  # llama.cpp's name for the input of the output matrix


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
    _squares: dict[tuple[int, ...], Sums] = field(default_factory=dict)  # of this chunk, by the tensors that went in

    def begin_chunk(self) -> None:
        """Tensors get other numbers."""
        self._squares.clear()

    def __call__(self, address: int, ask: bool, _user_data: object) -> bool:
        """ggml_backend_sched_eval_callback: whether the node interests us, and later whether to go on."""
        try:
            node = ggml_tensor.at(address)
            if ask:
                return self.interests(node)
            if node.name == LAST_NODE:
                return False  # the output matrix would take as long as several layers, for logits that nobody reads
            self.look(node)
        except BaseException as e:
            self.failure = self.failure or e
            return False
        return True

    def interests(self, node: ggml_tensor.GgmlTensor) -> bool:
        operation = node.op
        if operation == ggml_tensor.operation("MUL_MAT_ID"):
            return True
        if operation != ggml_tensor.operation("MUL_MAT"):
            return not self.with_output and node.name == LAST_NODE
        rows = ggml_tensor.at(node.src[1])
        if rows.type != ggml_tensor.F32 or rows.ne[1] < FEWEST_ROWS:
            return False
        weight = weight_name(node)
        return weight.startswith("blk.") or (self.with_output and weight == "output.weight")

    def look(self, node: ggml_tensor.GgmlTensor) -> None:
        weight = weight_name(node)
        stacked = node.op == ggml_tensor.operation("MUL_MAT_ID")
        matrices = tuple(ggml_tensor.at(node.src[0]).ne[2:4])
        # What goes into q, k and v, or into gate and up, is squared once.
        key = (node.src[1], node.src[2] if stacked else 0, *matrices)
        found = self._squares.get(key)
        if found is None:
            rows: NDArray[Any] = ggml_tensor.rows_of(node.src[1])
            if stacked:
                chosen: NDArray[Any] = ggml_tensor.rows_of(node.src[2])[0, 0]
                found = of_experts(matrices[0], rows[0], chosen)
            else:
                found = of_dense(matrices, rows)
            if not np.isfinite(found.in_sum2).all():
                raise BadInput(
                    f"the model computes values that are not finite at the input of {weight}; check its file"
                )
            self._squares[key] = found
        mine = self.sums.get(weight)
        if mine is None:
            self.sums[weight] = Sums(found.in_sum2.copy(), found.counts.copy())
        else:
            mine.in_sum2 += found.in_sum2
            mine.counts += found.counts


def weight_name(node: ggml_tensor.GgmlTensor) -> str:
    """The name of a product's weight; a device's copy is called `DEVICE#name#number`."""
    parts = bytes(ggml_tensor.at(node.src[0]).name).decode("utf-8", "replace").split("#")
    return parts[1] if len(parts) > 1 else parts[0]


def of_dense(matrices: Sequence[int], rows: NDArray[np.float32]) -> Sums:
    """The squares of rows (ne3, ne2, rows, inputs) of a product with (ne2, ne3) stacked matrices.

    All matrices share one count, and stand after one another in one row of sums.
    """
    outer, inner, count, inputs = rows.shape
    stacked = matrices[0] * matrices[1]
    sums = np.zeros((stacked, inputs), SUM_TYPE)
    for i in range(outer):
        for j in range(inner):
            matrix = (i % matrices[1]) * matrices[0] + j % matrices[0]
            sums[matrix] += np.einsum("ri,ri->i", rows[i, j], rows[i, j])
    return Sums(sums.reshape(1, -1), np.array([outer * inner * count // stacked]))


def of_experts(experts: int, rows: NDArray[np.float32], chosen: NDArray[np.int32]) -> Sums:
    """The squares of rows (tokens, rows a token, inputs), each counted for the experts `chosen` (tokens, experts).

    Where a token has one row, all its experts see it; where it has as many as experts, each sees its own.
    """
    _, per_token, inputs = rows.shape
    sums = np.zeros((experts, inputs), SUM_TYPE)
    order = np.argsort(chosen, axis=None, kind="stable")
    token, place = np.divmod(order, chosen.shape[1])
    place %= per_token
    counts = np.bincount(chosen.ravel(), minlength=experts)
    ends = np.cumsum(counts)
    for expert, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        if start < end:
            seen = rows[token[start:end], place[start:end]]
            sums[expert] = np.einsum("ri,ri->i", seen, seen)
    return Sums(sums, counts)


def collect(request: dict[str, Any], payload: bytearray) -> Mapping[str, object]:
    """Decode each chunk from an empty cache with the collector listening, and write the matrix at `out`."""
    ggml_tensor.check_layout()
    path, lengths = Path(request["model"]), request["lengths"]
    ids = np.frombuffer(payload, np.int32)
    model = loading.load_model(loading.checked_header(path), RuntimeOptions())
    loading.check_model(path, model)
    check_ids(path, model, ids)
    collector = Collector(request["output_weight"])
    context, _callback = open_context(path, model, max(lengths), request["threads"], collector)
    batch = Batch(max(lengths), max(lengths))
    for number, chunk in enumerate(np.split(ids, np.cumsum(lengths)[:-1]), start=1):
        decode(context, batch, chunk, collector, number)
        child.log(b"chunk %d/%d\n" % (number, len(lengths)))
    entries = {
        name: Entry(s.in_sum2.astype(np.float32), s.counts.astype(np.float32)) for name, s in collector.sums.items()
    }
    write_imatrix(Path(request["out"]), Imatrix(entries, len(lengths), request["chunk_tokens"]))
    return {}


def decode(context: Any, batch: Batch, chunk: NDArray[np.int32], collector: Collector, number: int) -> None:
    """One chunk from an empty cache; raises what the collector found, or EngineFailed."""
    collector.begin_chunk()
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    # Logits of every token are asked for: the last layer is computed only where there is an output.
    batch.fill([Feed(0, chunk.tolist(), "all")], chunk.astype(np.int64), [0])
    code = llama_cpp.llama_decode(context, batch.struct)
    if collector.failure is not None:
        raise collector.failure
    if code != 0:
        raise EngineFailed(f"llama.cpp could not decode chunk {number} of the calibration text (code {code})")


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
