"""The manifest of a bundle: written last, so a folder with a manifest is whole."""

from __future__ import annotations

from typing import Literal

from edgellm.records.base import Record
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
    format: str
    type: str
    artifact: str  # path inside the bundle
    tokenizer: str | None  # folder inside the bundle; None: the artifact's own vocabulary
    licence: str
    source: dict[str, str]  # what the checkpoint is: name, digest of its weights
    parameters: int
    size_bytes: int
    bits_per_weight: float
    verdict: Verdict
    fidelity: Fidelity | None
    lineage: list[Step]
    files: list[FileEntry]
    created: str  # UTC, ISO 8601
