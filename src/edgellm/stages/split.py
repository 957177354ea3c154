"""Artifact in one file → the same model in parts of a limited size."""

from __future__ import annotations

from pathlib import Path

from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "1"
LABEL = "split"


def split(artifact: Path, artifact_digest: str, max_bytes: int, work: WorkFolder, progress: Progress | None) -> Made:
    """Cut a GGUF file into `model-00001-of-0000N.gguf` and so on; raises UsageError where a tensor alone is larger."""

    def make(folder: Path) -> None:
        from edgellm.engines.gguf.split import split as write

        with labelled(progress, LABEL) as on_progress:
            write(artifact, folder, artifact.stem, max_bytes, on_progress)

    inputs, versions = {"artifact": artifact_digest}, versions_of("gguf") | {"stage": STAGE_VERSION}
    return told(progress, LABEL, work.step("split", inputs, {"max_bytes": max_bytes}, versions, make))


def first_part(folder: Path) -> Path:
    return next(folder.glob("*-00001-of-*.gguf"))
