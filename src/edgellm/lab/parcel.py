"""What is sent to a device: the files of a bundle, or a plain GGUF, under one digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import BadInput
from edgellm.inference.target import MANIFEST, Target, read_manifest
from edgellm.records.manifest import FileEntry
from edgellm.store import digest


@dataclass(frozen=True)
class Parcel:
    """Files below `folder`. On a device they stand in a folder named by `digest`, whose name is therefore enough to
    know what should be in it."""

    folder: Path
    files: tuple[FileEntry, ...]  # the one that makes the others a bundle is the last
    digest: str
    target: str  # what `edgellm bench` is pointed at, inside that folder; empty: the folder itself

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    def check(self) -> None:
        """Read all files; raises BadInput if one is not what its digest says: it would be found only on the device."""
        found = digest.of_files([self.folder / entry.path for entry in self.files])
        for entry, sha256 in zip(self.files, found, strict=True):
            if sha256 != entry.sha256:
                raise BadInput(f"{self.folder / entry.path} is not what the manifest says; make the bundle again")


def parcel_of(target: Target) -> Parcel:
    """Of a bundle, by its manifest without reading the rest; of a GGUF, by reading it.

    Raises BadInput if a file is missing, or has a name that a device's tools could not print.
    """
    if target.kind == "bundle":
        manifest = target.path / MANIFEST
        sha256 = digest.of_file(manifest)
        own = FileEntry(path=MANIFEST, sha256=sha256, bytes=manifest.stat().st_size)
        parcel = Parcel(target.path, (*read_manifest(target.path).files, own), sha256, "")
    else:
        from edgellm.engines.gguf.header import read_header

        assert target.artifact is not None
        parts = read_header(target.artifact).files
        entries = [
            FileEntry(path=part.name, sha256=found, bytes=part.stat().st_size)
            for part, found in zip(parts, digest.of_files(parts), strict=True)
        ]
        listed = digest.of_value([entry.model_dump() for entry in entries])
        whole = entries[0].sha256 if len(entries) == 1 else listed
        parcel = Parcel(target.artifact.parent, tuple(entries), whole, target.artifact.name)
    for entry in parcel.files:
        if not (parcel.folder / entry.path).is_file():
            raise BadInput(f"{parcel.folder / entry.path} is missing; make the bundle again")
        if not entry.path.isprintable() or "\\" in entry.path:
            raise BadInput(f"{entry.path!r} in {parcel.folder} cannot be sent under this name; rename it")
    return parcel
