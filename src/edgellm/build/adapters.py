"""What --lora names, as files that an engine can load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgellm.build.sources import weights_behind
from edgellm.errors import UsageError
from edgellm.inference.target import resolve
from edgellm.stages import Progress
from edgellm.store.checkpoint import read_json
from edgellm.store.work import WorkFolder, default_root


def named_paths(texts: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH of each `--lora`; a path alone is named by its last part. Raises UsageError."""
    found: dict[str, Path] = {}
    for text in texts:
        name, given, path = text.partition("=")
        if not given:
            name, path = Path(text).resolve().stem, text
        if not name or not path or name in found:
            why = "names an adapter twice" if name in found else "is not NAME=PATH"
            raise UsageError(f"--lora {text!r} {why}; write for example --lora legal=./legal-adapter")
        found[name] = Path(path)
    return found


def adapter_files(
    paths: Mapping[str, Path], target: str, progress: Progress | None = None
) -> dict[str, Path]:  # fmt: skip
    """GGUF adapters by name; a PEFT folder is converted in the work folder for the base that TARGET is.

    Raises UsageError for a path that is no adapter, and for a PEFT folder whose base checkpoint cannot be found.
    """
    found = {}
    for name, path in paths.items():
        if path.is_dir():
            found[name] = converted(path, base_of(path, target), progress)
        elif path.is_file():
            found[name] = path
        else:
            raise UsageError(f"there is no adapter at {path}; give a PEFT folder or a GGUF adapter")
    return found


def converted(folder: Path, base: Path, progress: Progress | None = None) -> Path:
    """The GGUF adapter of a PEFT folder, in the work folder."""
    from edgellm.engines.gguf.adapter import SETTINGS, is_peft
    from edgellm.stages.adapter import ARTIFACT, convert_adapter

    if not is_peft(folder):
        raise UsageError(f"{folder} holds no {SETTINGS}; give a PEFT folder or a GGUF adapter")
    return convert_adapter(folder, base, WorkFolder(default_root()), progress).folder / ARTIFACT


def base_of(folder: Path, target: str) -> Path:
    """The folder whose config.json is the base's: TARGET if it is a checkpoint, else the adapter's own folder, else the
    one that the adapter names, if that is on this machine."""
    model = weights_behind(resolve(target))
    if model.kind == "checkpoint":
        return model.path
    named = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    for place in (folder, Path(named)) if isinstance(named, str) else (folder,):
        if (place / "config.json").is_file():
            return place
    raise UsageError(
        f"the config.json of the checkpoint on which {folder} was trained is needed to convert it, and {target} holds "
        f"none; copy it into {folder}"
    )
