"""Checkpoint → base artifact, in the format and float type asked for."""

from __future__ import annotations

from pathlib import Path

from edgellm.records.recipe import Format
from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store import checkpoint as checkpoints
from edgellm.store.disk import need_space
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "1"
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def artifact_name(format_name: Format) -> str:
    """The artifact's name inside a step or bundle folder: a file for GGUF, a folder for ONNX."""
    return "model.gguf" if format_name == "gguf" else "onnx"


def convert(
    checkpoint: Path, type_name: str, work: WorkFolder, format_name: Format = "gguf", progress: Progress | None = None
) -> Made:
    """Write the checkpoint as `model.gguf` (F32, F16 or BF16) or as the folder `onnx` (F32)."""
    opened = checkpoints.open_checkpoint(checkpoint)
    with labelled(progress, f"digest {checkpoint.name}") as on_progress:
        inputs = {"checkpoint": opened.digest(on_progress)}
    versions = versions_of("gguf") if format_name == "gguf" else versions_of("optimum", "optimum-onnx", "torch")

    label = f"convert to {type_name}" if format_name == "gguf" else "export to ONNX"

    def make(folder: Path) -> None:
        # Asked for only where there is something to make: a full disk does not stop the reuse of steps.
        need_space(work.root, opened.parameters * FLOAT_BYTES[type_name], f"the {type_name} artifact of {checkpoint}")
        out = folder / artifact_name(format_name)
        with labelled(progress, label) as on_progress:
            if format_name == "gguf":
                from edgellm.engines.gguf.convert import convert as write

                write(checkpoint, out, type_name, on_progress)
            else:
                from edgellm.engines.onnx.export import export

                export(checkpoint, out, on_progress)

    settings = {"format": format_name, "type": type_name}
    made = work.step("convert", inputs, settings, versions | {"stage": STAGE_VERSION}, make)
    return told(progress, label, made)
