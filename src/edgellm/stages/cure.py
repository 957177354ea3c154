"""A GGUF that llama.cpp would hang on → a copy of it that works; the file that was given is never changed."""

from __future__ import annotations

from pathlib import Path

from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store.disk import need_space
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "1"


def cure(source: Path, source_digest: str, work: WorkFolder, progress: Progress | None = None) -> Made | None:
    """The step that holds the cured copy under the name of the source; None for a file that needs none."""
    from edgellm.engines.gguf.header import read_header
    from edgellm.engines.gguf.plamo_cure import hangs, write_cured

    header = read_header(source)
    if not hangs(header):
        return None
    label = f"cure a copy of {source.name}"

    def make(folder: Path) -> None:
        need_space(work.root, header.size_bytes, f"the cured copy of {source}")
        with labelled(progress, label):
            write_cured(header, folder)

    versions = versions_of("gguf") | {"stage": STAGE_VERSION}
    return told(progress, label, work.step("cure", {"gguf": source_digest}, {}, versions, make))
