"""Base artifact and text → importance matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.engines.protocol import RuntimeOptions
from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.stages.calibration_text import CHUNK_TOKENS, SELF, SHIPPED, Source, mixed, parse_sources
from edgellm.store import digest
from edgellm.store.work import Made, WorkFolder

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

STAGE_VERSION = "2"
IMATRIX = "imatrix.gguf"


def calibration_documents(calibration: str | Sequence[str]) -> list[str]:
    """The documents of all sources but `self`, whose text there is only once a model has written it."""
    return [d for source in parse_sources(calibration) if source.name != SELF for d in source.documents()]


def calibrate(
    base: Path, base_digest: str, tokenizer: Tokenizer, calibration: str | Sequence[str], work: WorkFolder,
    progress: Progress | None = None,
) -> Made:  # fmt: skip
    """Collect the importance matrix of a base GGUF into `imatrix.gguf`.

    `calibration`: "shipped" (the text that comes with edgellm), "self" (text that the model itself
    generates, seeded), a UTF-8 text file, or several of them with weights, "FILE=2" say.
    """
    sources = parse_sources(calibration)
    inputs = {"base": base_digest, "text": digest.of_value(calibration_documents(calibration))}
    datasets = [dataset(source) for source in sources]
    settings = {"datasets": datasets, "weights": [s.weight for s in sources], "chunk_tokens": CHUNK_TOKENS}

    def written(tokens: int) -> list[list[int]]:
        return generated(base, tokenizer, tokens, progress)

    def make(folder: Path) -> None:
        from edgellm.engines.gguf.imatrix import collect
        from edgellm.engines.gguf.imatrix_file import write_imatrix

        chunks = mixed(sources, tokenizer, written)
        with labelled(progress, "calibrate") as on_progress:
            found = collect(base, chunks, on_progress, scratch=folder)
            write_imatrix(folder / IMATRIX, found, datasets=datasets)

    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    return told(progress, "calibrate", work.step("calibrate", inputs, settings, versions, make))


def dataset(source: Source) -> str:
    """What a source is called in the matrix: never by a path, which would travel into every file made with it."""
    return source.name if source.name in (SHIPPED, SELF) else digest.of_value(source.documents())


def generated(base: Path, tokenizer: Tokenizer, tokens: int, progress: Progress | None) -> list[list[int]]:
    from edgellm.engines import open_runtime
    from edgellm.inference.self_text import generate

    with labelled(progress, "generate text") as on_progress:
        runtime = open_runtime("gguf", base, RuntimeOptions(context_tokens=CHUNK_TOKENS, sequences=8))
        try:
            return generate(runtime, tokenizer, tokens, CHUNK_TOKENS, on_progress)
        finally:
            runtime.close()
