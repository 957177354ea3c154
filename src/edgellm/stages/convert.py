"""Checkpoint → base artifact, in the format and float type asked for."""

from __future__ import annotations

from pathlib import Path

from edgellm.records.recipe import Format
from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store import checkpoint as checkpoints
from edgellm.store.disk import amount, need_space
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "2"
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def artifact_name(format_name: Format) -> str:
    """The artifact's name inside a step or bundle folder: a file for GGUF, a folder for ONNX."""
    return "model.gguf" if format_name == "gguf" else "onnx"


def convert(
    checkpoint: Path, type_name: str, work: WorkFolder, format_name: Format = "gguf",
    progress: Progress | None = None, *, later_bytes: int = 0, later_words: str = "",
) -> Made:  # fmt: skip
    """Write the checkpoint as `model.gguf` (F32, F16 or BF16) or as the folder `onnx` (F32).

    `later_bytes`: what the same disk must hold besides, for what follows, as `later_words` tells the user.
    """
    opened = checkpoints.open_checkpoint(checkpoint)
    if format_name == "gguf":
        from edgellm.engines.gguf import convert as gguf_convert

        # Before all weights are read for the digest: most of what is wrong with a checkpoint shows in its headers.
        size_bytes = gguf_convert.artifact_bytes(opened, type_name)
        versions, label = versions_of("gguf"), f"convert to {type_name}"
    else:
        size_bytes = opened.parameters * FLOAT_BYTES[type_name]
        versions, label = versions_of("optimum", "optimum-onnx", "torch"), "export to ONNX"
    with labelled(progress, f"digest {checkpoint.name}") as on_progress:
        inputs = {"checkpoint": opened.digest(on_progress)}

    def make(folder: Path) -> None:
        # Asked for only where there is something to make: a full disk does not stop the reuse of steps.
        out = folder / artifact_name(format_name)
        if format_name == "gguf":
            what = f"the {type_name} artifact of {checkpoint}"
            need_space(work.root, size_bytes + later_bytes, f"{what} with what is made of it" if later_bytes else what)
            if progress and later_words:
                progress.note(f"disk: {amount(size_bytes)} in {work.root}, {later_words}")
            if progress:
                for note in gguf_convert.notes_on(opened):
                    progress.note(note)
            with labelled(progress, label) as on_progress:
                gguf_convert.convert(checkpoint, out, type_name, on_progress)
        else:
            from edgellm.engines.onnx.export import export

            need_space(work.root, size_bytes, f"the {type_name} artifact of {checkpoint}")
            with labelled(progress, label) as on_progress:
                export(checkpoint, out, on_progress)

    settings = {"format": format_name, "type": type_name}
    made = work.step("convert", inputs, settings, versions | {"stage": STAGE_VERSION}, make)
    return told(progress, label, made)
