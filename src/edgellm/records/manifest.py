"""The manifest of a bundle: written last, so a folder with a manifest is whole."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import model_validator

from edgellm.records.base import Record
from edgellm.records.recipe import Format, Gate
from edgellm.records.results import Fidelity, Verdict


class FileEntry(Record):
    path: str  # relative to the bundle, with forward slashes
    sha256: str  # "sha256:<hex>"
    bytes: int


class Step(Record):
    """One stage that led to the bundle, with the key under which its product is stored."""

    stage: str
    key: str
    inputs: dict[str, str]  # name → digest
    settings: dict[str, object]
    versions: dict[str, str]


class Manifest(Record):
    schema_version: Literal[1] = 1
    name: str
    family: str
    format: Format
    type: str
    artifact: str  # path inside the bundle
    tokenizer: str | None  # folder inside the bundle; None: the artifact's own vocabulary
    licence: str
    source: dict[str, str]  # what the checkpoint is: name, digest of its weights
    parameters: int
    size_bytes: int
    bits_per_weight: float
    recipe: str
    gate: Gate | None  # the limits that it was held to; None: nobody asked for any
    verdict: Verdict
    fidelity: Fidelity | None
    lineage: list[Step]
    files: list[FileEntry]
    created: str  # UTC, ISO 8601

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        """What an engine or tokenizer loads lies inside the bundle, among the files that have a digest."""
        loaded = [PurePosixPath(part) for part in (self.artifact, self.tokenizer) if part]
        paths = [PurePosixPath(entry.path) for entry in self.files]
        if any(path.is_absolute() or ".." in path.parts for path in [*loaded, *paths]):
            raise ValueError("a path leads out of the bundle")
        for part in loaded:
            if self.files and not any(path.is_relative_to(part) for path in paths):
                raise ValueError(f"{part} is not among the files")
        return self
