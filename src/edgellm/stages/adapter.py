"""PEFT folder → LoRA adapter in GGUF, for a base checkpoint."""

from __future__ import annotations

from pathlib import Path

from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store import digest
from edgellm.store.checkpoint import read_json
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "1"
ARTIFACT = "adapter.gguf"


def convert_adapter(folder: Path, base: Path, work: WorkFolder, progress: Progress | None = None) -> Made:
    """Write the PEFT folder as `adapter.gguf`; of the base checkpoint only config.json is needed."""
    from edgellm.engines.gguf.adapter import SETTINGS, WEIGHTS, convert_adapter

    files = {name: folder / name for name in (SETTINGS, WEIGHTS) if (folder / name).is_file()}
    inputs = {name: digest.of_file(path) for name, path in files.items()}
    config = read_json(base / "config.json")
    inputs["base"] = digest.of_value(config)
    label = f"convert the adapter {folder.name}"

    def make(aside: Path) -> None:
        with labelled(progress, label):
            convert_adapter(folder, config, aside / ARTIFACT)

    # The folder's name stands in the file.
    settings = {"name": folder.name}
    return told(
        progress, label, work.step("adapter", inputs, settings, versions_of("gguf") | {"stage": STAGE_VERSION}, make)
    )
