"""What a bench measured: the facts that tell one model from another, and the digest that proves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import Busy, NoSpace, NotWritable
from edgellm.inference.target import Target, read_manifest
from edgellm.measures.traffic import Shape, shape_of
from edgellm.records.bench import BenchedModel
from edgellm.records.manifest import Manifest
from edgellm.stages import Progress, labelled
from edgellm.store import catalogue, digest
from edgellm.store.work import WorkFolder

RANDOM_WEIGHTS = " (random weights)"  # how `synth` ends a model's name
WORTH_KEEPING_BYTES = 256 << 20  # digests of smaller files are made again each time


def benched_model(
    target: Target, work: WorkFolder | None = None, progress: Progress | None = None, recipe: str | None = None
) -> BenchedModel:
    """Facts from the artifact's header and its bundle's manifest. `recipe`: the one that was asked for, if any.

    Raises BadInput for a damaged artifact, before its digest is made.
    """
    assert target.artifact is not None
    manifest = read_manifest(target.path) if target.kind == "bundle" else None
    facts = gguf_facts(target.artifact) if target.engine == "gguf" else onnx_facts(target.artifact)
    if manifest is not None:
        facts["file_type"] = manifest.type
        recipe = manifest.recipe if manifest.recipe in catalogue.model_recipes() else recipe
    named = facts.pop("name", "")
    random_weights = named.endswith(RANDOM_WEIGHTS)
    if random_weights and named.removesuffix(RANDOM_WEIGHTS) in catalogue.recipe_names():
        recipe = named.removesuffix(RANDOM_WEIGHTS)
    return BenchedModel(
        name=target.name, recipe=recipe, random_weights=random_weights,
        sha256=digest_of(target, manifest, work, progress), **facts,
    )  # fmt: skip


def gguf_facts(artifact: Path) -> dict[str, Any]:
    from edgellm.engines.gguf.header import read_header
    from edgellm.engines.gguf.types import FILE_TYPES

    header = read_header(artifact)
    number = header.count("general.file_type")
    return {
        "name": str(header.metadata.get("general.name", "")), "architecture": header.architecture or None,
        "size_bytes": header.size_bytes, "parameters": header.parameters,
        "active_parameters": header.active_parameters, "bits_per_weight": header.bits_per_weight,
        "file_type": next((t.name for t in FILE_TYPES.values() if t.number == number), None),
        "layers": header.of_architecture("block_count"),
    }  # fmt: skip


def onnx_facts(artifact: Path) -> dict[str, Any]:
    from edgellm.measures.sizing import size_of

    size = size_of(artifact, "onnx")
    return {
        "architecture": size.architecture, "size_bytes": size.size_bytes, "parameters": size.parameters,
        "bits_per_weight": size.bits_per_weight,
    }  # fmt: skip


def shape_behind(target: Target, options: RuntimeOptions) -> Shape | None:
    """What a pass of the model reads and computes; None for an engine whose files do not tell."""
    if target.engine != "gguf":
        return None
    from edgellm.engines.gguf.header import read_header

    assert target.artifact is not None
    return shape_of(read_header(target.artifact), options.type_k, options.type_v)


def digest_of(
    target: Target, manifest: Manifest | None, work: WorkFolder | None, progress: Progress | None
) -> str | None:
    """Of the artifact's one file, or of the list of its files' digests by name; a bundle's manifest knows them."""
    files = files_of(target)
    known = {entry.path: entry.sha256 for entry in manifest.files} if manifest else {}
    names = [file.relative_to(target.path).as_posix() if manifest else file.name for file in files]
    if all(name in known for name in names):
        found = [known[name] for name in names]
    else:
        with labelled(progress, f"digest {target.name}") as on_progress:
            found = remembered(files, work, on_progress)
    return found[0] if len(found) == 1 else digest.of_value(dict(zip(names, found, strict=True)))


def files_of(target: Target) -> list[Path]:
    assert target.artifact is not None
    if target.engine == "gguf":
        from edgellm.engines.gguf.header import read_header

        return list(read_header(target.artifact).files)
    return sorted(file for file in target.artifact.rglob("*") if file.is_file())


def remembered(files: list[Path], work: WorkFolder | None, on_progress: Any) -> list[str]:
    """The digests of files. Those of large files are kept in the work folder until one is written again."""
    if work is None or sum(file.stat().st_size for file in files) < WORTH_KEEPING_BYTES:
        return digest.of_files(files, on_progress)
    looks = {str(file.resolve()): stamp_of(file) for file in files}

    def make(folder: Path) -> None:
        (folder / "sha256.json").write_text(json.dumps(digest.of_files(files, on_progress)), encoding="utf-8")

    try:
        made = work.step("digest", {}, {"files": looks}, {}, make)
    except (NotWritable, NoSpace, Busy):  # keeping it is all that the folder is for here
        return digest.of_files(files, on_progress)
    found: list[str] = json.loads((made.folder / "sha256.json").read_text(encoding="utf-8"))
    return found


def stamp_of(file: Path) -> list[int]:
    """What changes when a file is written again."""
    state = file.stat()
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
