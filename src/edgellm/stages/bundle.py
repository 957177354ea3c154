"""Verified artifact → bundle folder, with the manifest written last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from edgellm.errors import UsageError
from edgellm.records.manifest import FileEntry, Manifest
from edgellm.store import digest
from edgellm.store.atomic import folder_aside
from edgellm.store.work import locked, need_space

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "generation_config.json",
)  # fmt: skip
PAPERS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "README.md", "MODEL_CARD.md")


def check_out(out: Path) -> None:
    """Raise UsageError unless a bundle may stand at `out`: nothing, an empty folder, or a bundle to replace."""
    if out.is_file():
        raise UsageError(f"{out} is a file; name a folder for the bundle")
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).exists():
        raise UsageError(f"{out} holds something that is no bundle; name a new or an empty folder")


def write_bundle(
    out: Path, artifact: Path, source: Path | None, extras: Mapping[str, Path], facts: Manifest
) -> Manifest:
    """Copy the artifact, tokenizer files and papers of the source and `extras` (name → file) into `out`.

    `facts` is the manifest without its `files`; the complete one is given back. An existing bundle at `out`
    is replaced as a whole; any other folder that is not empty is refused.
    """
    out = out.resolve()
    check_out(out)
    need_space(out, facts.size_bytes, f"the bundle {out}")
    with locked(out.with_name(f".{out.name}.lock"), f"the bundle {out}"), folder_aside(out) as aside:
        if artifact.is_dir():
            shutil.copytree(artifact, aside / facts.artifact)
        else:
            # A copy, never a hard link: whoever edits the bundle must not alter a finished step.
            shutil.copyfile(artifact, aside / facts.artifact)
        if source is not None:
            copy_existing(source, aside / TOKENIZER, TOKENIZER_FILES)
            copy_existing(source, aside, PAPERS)
        for name, path in extras.items():
            shutil.copyfile(path, aside / name)
        manifest = facts.model_copy(update={"files": entries(aside)})
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def copy_existing(source: Path, folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def entries(folder: Path) -> list[FileEntry]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return [
        FileEntry(path=p.relative_to(folder).as_posix(), sha256=digest.of_file(p), bytes=p.stat().st_size)
        for p in files
    ]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
