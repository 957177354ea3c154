"""Verified artifact → bundle folder, with the manifest written last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edgellm.errors import BadInput, UsageError
from edgellm.inference.target import read_manifest
from edgellm.records.manifest import FileEntry, Manifest
from edgellm.stages import Progress, labelled
from edgellm.store import digest
from edgellm.store.atomic import folder_aside
from edgellm.store.disk import filling, need_space
from edgellm.store.lock import claimed

MANIFEST = "manifest.json"
MANIFEST_ROOM = 1 << 20
TOKENIZER = "tokenizer"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer.jsonl", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "generation_config.json",
)  # fmt: skip
PAPERS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "README.md", "MODEL_CARD.md")


def check_out(out: Path) -> None:
    """Raise UsageError unless a bundle may stand at `out`: nothing, an empty folder, or a bundle to replace.

    Replacing removes all that is in the folder, so it must be a bundle's own files and nothing of anybody else's.
    """
    if out.is_file():
        raise UsageError(f"{out} is a file; name a folder for the bundle")
    if out.resolve().is_mount():  # "." has no parent by name, and looks like one
        raise UsageError(f"{out} is where a disk is mounted, which cannot be replaced as a whole; name a folder in it")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        others = strays(out, read_manifest(out))
    except BadInput:
        raise UsageError(f"{out} holds something that is no bundle; name a new or an empty folder") from None
    if others:
        raise UsageError(f"{out} holds {others[0]}, which is no part of its bundle; move it away or name a new folder")


def strays(folder: Path, manifest: Manifest) -> list[str]:
    """Files in a bundle's folder that its manifest does not list."""
    known = {entry.path for entry in manifest.files} | {MANIFEST}
    there = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if not p.is_dir())
    return [name for name in there if name not in known]


@contextmanager
def claim(out: Path) -> Iterator[None]:
    """Hold `out` for the whole run that ends with a bundle there: what would stop it is said before the work.

    Raises as `check_out` and `claimed` do.
    """
    check_out(out)
    with claimed(out, f"the bundle {out}"):
        yield


def write_bundle(
    out: Path, artifact: Path, source: Path | None, extras: Mapping[str, Path], facts: Manifest,
    progress: Progress | None = None,
) -> Manifest:  # fmt: skip
    """Copy the artifact, tokenizer files and papers of the source and `extras` (name → file) into `out`.

    `facts` is the manifest without its `files`; the complete one is given back. An existing bundle at `out`
    is replaced as a whole; any other folder that is not empty is refused. The caller holds `claim(out)`.
    """
    out = out.resolve()
    check_out(out)
    files = {**contents(artifact, facts.artifact, source), **extras}
    need_space(out, sum(f.stat().st_size for f in files.values()) + MANIFEST_ROOM, f"the bundle {out}")
    with labelled(progress, "bundle"), filling(out, f"the bundle {out}"), folder_aside(out) as aside:
        for name, file in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            # A copy, never a hard link: whoever edits the bundle must not alter a finished step.
            shutil.copyfile(file, aside / name)
        manifest = facts.model_copy(update={"files": entries(aside, progress)})
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def contents(artifact: Path, name: str, source: Path | None) -> dict[str, Path]:
    """Path in the bundle → file: the artifact, which may be a folder or several parts, and what its source gives."""
    if artifact.is_dir():
        files = {f"{name}/{f.relative_to(artifact)}": f for f in sorted(artifact.rglob("*")) if f.is_file()}
    else:
        from edgellm.engines.gguf.header import read_header

        files = {name: artifact} | {part.name: part for part in read_header(artifact).files[1:]}
    if source is not None:
        files |= {f"{TOKENIZER}/{n}": source / n for n in TOKENIZER_FILES if (source / n).is_file()}
        files |= {n: source / n for n in PAPERS if (source / n).is_file()}
    return files


def entries(folder: Path, progress: Progress | None = None) -> list[FileEntry]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    with labelled(progress, "digest the bundle") as on_progress:
        digests = digest.of_files(files, on_progress)
    return [
        FileEntry(path=p.relative_to(folder).as_posix(), sha256=found, bytes=p.stat().st_size)
        for p, found in zip(files, digests, strict=True)
    ]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
