"""From whatever TARGET names to something that an engine can load."""

from __future__ import annotations

from edgellm.build.sources import weights_behind
from edgellm.inference.target import Target, resolve
from edgellm.stages import Progress
from edgellm.stages.convert import artifact_name, convert
from edgellm.store.work import WorkFolder, default_root


def open_target(name: str, progress: Progress | None = None) -> Target:
    """What TARGET names, as something that an engine can load; see `runnable`."""
    return runnable(resolve(name), WorkFolder(default_root()), progress)


def runnable(target: Target, work: WorkFolder, progress: Progress | None = None) -> Target:
    """A target that an engine can load: a checkpoint (or a recipe's) is converted to an F16 GGUF in the work folder."""
    target = weights_behind(target, progress)
    if target.kind != "checkpoint":
        return target
    made = convert(target.path, "F16", work, progress=progress)
    artifact = made.folder / artifact_name("gguf")
    return Target(target.name, "gguf", artifact, "gguf", artifact, target.tokenizer_folder)
