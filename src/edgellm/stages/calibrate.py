"""Base artifact and text → importance matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput
from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store import catalogue, digest
from edgellm.store.work import Made, WorkFolder

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

STAGE_VERSION = "1"
CHUNK_TOKENS = 512
SELF_TOKENS = 24_576
IMATRIX = "imatrix.gguf"


def calibration_documents(calibration: str) -> list[str]:
    """The documents of `shipped` or of a text file."""
    path = catalogue.TEXTS / "calibration" if calibration == "shipped" else Path(calibration)
    return catalogue.read_documents(path)


def chunks_of(documents: Sequence[str], tokenizer: Tokenizer, length: int = CHUNK_TOKENS) -> list[list[int]]:
    """All documents after one another, cut into chunks of `length` tokens that begin with BOS where there is one.

    A last chunk of under 16 tokens is left out: the collector skips batches that small, as llama.cpp's does.
    """
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    stream = [i for d in documents for i in tokenizer.encode(d)]
    room = length - len(start)
    chunks = [start + stream[i : i + room] for i in range(0, len(stream), room)]
    chunks = [c for c in chunks if len(c) >= 16]
    if not chunks:
        raise BadInput("the calibration text is shorter than 16 tokens; give a longer one")
    return chunks


def calibrate(
    base: Path, base_digest: str, tokenizer: Tokenizer, calibration: str, work: WorkFolder,
    progress: Progress | None = None,
) -> Made:  # fmt: skip
    """Collect the importance matrix of a base GGUF into `imatrix.gguf`.

    `calibration`: "shipped" (the text that comes with edgellm), "self" (text that the model itself
    generates, seeded), or a UTF-8 text file.
    """
    documents = [] if calibration == "self" else calibration_documents(calibration)
    inputs = {"base": base_digest, "text": digest.of_value(documents)}
    # Never the path: it would travel into every file quantized with the matrix.
    dataset = calibration if calibration in ("shipped", "self") else inputs["text"]
    settings = {"dataset": dataset, "chunk_tokens": CHUNK_TOKENS}

    def make(folder: Path) -> None:
        from edgellm.engines.gguf.imatrix import collect
        from edgellm.engines.gguf.imatrix_file import write_imatrix

        chunks = [] if documents else generated(base, tokenizer, progress)
        with labelled(progress, "calibrate") as on_progress:
            found = collect(base, chunks or chunks_of(documents, tokenizer), on_progress, scratch=folder)
            write_imatrix(folder / IMATRIX, found, datasets=[dataset])

    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    return told(progress, "calibrate", work.step("calibrate", inputs, settings, versions, make))


def generated(base: Path, tokenizer: Tokenizer, progress: Progress | None) -> list[list[int]]:
    from edgellm.engines import open_runtime
    from edgellm.inference.self_text import generate

    with labelled(progress, "generate text") as on_progress:
        runtime = open_runtime("gguf", base, RuntimeOptions(context_tokens=CHUNK_TOKENS, sequences=8))
        try:
            return generate(runtime, tokenizer, SELF_TOKENS, CHUNK_TOKENS, on_progress)
        finally:
            runtime.close()
