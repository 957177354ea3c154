"""What is sent, and under which digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.inference.target import resolve
from edgellm.lab.parcel import parcel_of
from edgellm.records.manifest import Manifest
from edgellm.records.results import Verdict
from edgellm.stages.bundle import entries
from edgellm.store import digest
from tiny_gguf import dense_gguf


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with a manifest; nothing of it is loaded by an engine."""
    folder = tmp_path / "bundle"
    (folder / "tokenizer").mkdir(parents=True)
    dense_gguf(folder / "model.gguf")
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    facts = Manifest(
        name="small", family="llama", format="gguf", type="F32", artifact="model.gguf", tokenizer="tokenizer",
        licence="Apache-2.0", source={}, parameters=1, size_bytes=1, bits_per_weight=32.0, recipe="default", gate=None,
        verdict=Verdict(passed=True, checks=[]), fidelity=None, lineage=[], files=entries(folder),
        created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    (folder / "manifest.json").write_text(facts.model_dump_json())
    return folder


def test_a_bundle_is_named_by_its_manifest_which_goes_last(bundle: Path) -> None:
    parcel = parcel_of(resolve(str(bundle)))
    assert parcel.digest == digest.of_file(bundle / "manifest.json")
    assert parcel.files[-1].path == "manifest.json"
    assert {entry.path for entry in parcel.files} == {
        str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()
    }
    assert parcel.target == ""


def test_a_gguf_is_named_by_its_own_digest(bundle: Path) -> None:
    parcel = parcel_of(resolve(str(bundle / "model.gguf")))
    assert parcel.digest == digest.of_file(bundle / "model.gguf")
    assert parcel.target == "model.gguf"
    parcel.check()


def test_damage_here_is_found_before_anything_is_sent(bundle: Path) -> None:
    parcel = parcel_of(resolve(str(bundle)))
    parcel.check()
    data = bytearray((bundle / "model.gguf").read_bytes())
    data[-1] ^= 1
    (bundle / "model.gguf").write_bytes(data)
    with pytest.raises(BadInput, match=r"model\.gguf is not what the manifest says"):
        parcel.check()


def test_a_missing_file_is_told(bundle: Path) -> None:
    (bundle / "model.gguf").unlink()
    with pytest.raises(BadInput, match=r"model\.gguf is missing"):
        parcel_of(resolve(str(bundle)))
