"""Collect an importance matrix from token ids: what llama.cpp's quantizer weighs its errors with."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.imatrix_file import Imatrix, read_imatrix
from edgellm.errors import UsageError

CHILD = "edgellm.engines.gguf.imatrix_child"
CHUNK_TOKENS = 512  # llama-imatrix's own chunk
FEWEST_TOKENS = 16  # a shorter chunk would be seen by the experts and not by the dense weights


def collect(
    model: Path, chunks: Sequence[Sequence[int]], on_progress: Callable[[int, int], None] | None = None,
    threads: int = 0, *, output_weight: bool = False, scratch: Path | None = None,
) -> Imatrix:  # fmt: skip
    """Feed each chunk of ids to the GGUF `model` from an empty cache; add up its weights' squared inputs.

    chunks: 16 to 512 ids each, BOS included where the model wants one.
    on_progress: called with (chunks done, chunks in all).
    threads: 0 is one per usable core.
    output_weight: also collect `output.weight`, as llama-imatrix --process-output does.
    scratch: an existing folder for the file by which the child hands the matrix over, which is removed again;
    None is the system's temporary folder.

    Runs in a child process. Raises UsageError for chunks of another length, BadInput for a model that cannot
    be loaded or ids that it does not have, EngineFailed if llama.cpp refuses, dies, or is another build.
    """
    lengths = [len(chunk) for chunk in chunks]
    if not lengths or not all(FEWEST_TOKENS <= n <= CHUNK_TOKENS for n in lengths):
        raise UsageError(
            f"an importance matrix is collected over chunks of {FEWEST_TOKENS} to {CHUNK_TOKENS} tokens, "
            f"not of {min(lengths, default=0)} to {max(lengths, default=0)}: cut the calibration text anew"
        )
    ids = np.concatenate([np.asarray(chunk, dtype=np.int32) for chunk in chunks])

    def on_line(line: str) -> None:
        if on_progress is not None and (match := re.fullmatch(r"chunk (\d+)/(\d+)", line)):
            on_progress(int(match[1]), int(match[2]))

    with tempfile.TemporaryDirectory(prefix="edgellm-", dir=scratch) as folder:
        out = Path(folder) / "imatrix.gguf"
        request = {
            "model": str(model), "lengths": lengths, "chunk_tokens": CHUNK_TOKENS, "threads": threads,
            "output_weight": output_weight, "out": str(out),
        }  # fmt: skip
        with Child(CHILD, f"calibrating {model}") as child:
            child.ask(request, [ids.data.cast("B")], on_line)
        return read_imatrix(out)


def coverage(imatrix: Imatrix) -> dict[str, float]:
    """For each weight, the share of its matrices that saw any token: below 1, experts were never routed to.

    Experts that saw nothing are quantized as if every input mattered alike.
    """
    return {name: float((np.rint(entry.counts) > 0).mean()) for name, entry in imatrix.entries.items()}


def expert_tokens(imatrix: Imatrix) -> dict[int, list[int]]:
    """For each layer with experts, the tokens that were routed to each; empty for a dense model.

    Where the stacked weights of a layer disagree, as they do only in a matrix that somebody cut, the fewest.
    """
    layers: dict[int, list[int]] = {}
    for name, entry in imatrix.entries.items():
        found = re.match(r"blk\.(\d+)\.", name)
        if found and entry.counts.size > 1:
            counts = np.rint(entry.counts).astype(int).tolist()
            known = layers.get(int(found[1]), counts)
            layers[int(found[1])] = [min(pair) for pair in zip(known, counts, strict=True)]
    return dict(sorted(layers.items()))
