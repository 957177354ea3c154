"""The facts of a result's model: names, sizes, and a digest that is made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.build import benched_model as module
from edgellm.build.benched_model import benched_model, shape_behind
from edgellm.build.synth import synth
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.measures.traffic import bytes_of_pass
from edgellm.records.bench import BenchedModel
from edgellm.store import catalogue, digest
from edgellm.store.work import WorkFolder
from quick_build import make_quick_build
from tiny_gguf import dense_gguf


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return make_quick_build(folder / "quick").run(folder / "work", folder / "bundle").bundle


def facts(path: Path, work: WorkFolder | None = None) -> BenchedModel:
    return benched_model(resolve(str(path)), work)


def test_a_plain_file_is_told_by_its_header_and_digest(tmp_path: Path) -> None:
    path = dense_gguf(tmp_path / "plain.gguf", layers=3)
    found = facts(path)
    assert (found.name, found.architecture, found.layers, found.recipe) == ("plain", "llama", 3, None)
    assert found.sha256 == digest.of_file(path)
    assert found.size_bytes == path.stat().st_size
    assert found.bits_per_weight == pytest.approx(16, abs=0.1)
    assert not found.random_weights


def test_a_synthetic_file_is_told_as_such_with_its_recipe(tmp_path: Path) -> None:
    synth(catalogue.load_recipe("tiny-ja"), tmp_path / "made.gguf", layers=1, type_name="Q8_0")
    found = facts(tmp_path / "made.gguf")
    assert (found.recipe, found.random_weights, found.file_type, found.layers) == ("tiny-ja", True, "Q8_0", 1)


def test_the_digest_of_a_bundle_is_its_manifest_s(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "remembered", lambda *_: pytest.fail("the file was read"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    (entry,) = (entry for entry in manifest["files"] if entry["path"] == manifest["artifact"])
    found = facts(bundle)
    assert found.sha256 == entry["sha256"]
    assert found.file_type == manifest["type"]
    assert found.recipe is None  # of a checkpoint that no recipe knows


def test_the_digest_of_a_large_file_is_made_again_only_when_it_was_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH_KEEPING_BYTES", 1)
    path, work = dense_gguf(tmp_path / "large.gguf"), WorkFolder(tmp_path / "work")
    first = facts(path, work).sha256
    with monkeypatch.context() as context:
        context.setattr(digest, "of_files", lambda *_: pytest.fail("the file was read again"))
        assert facts(path, work).sha256 == first
    dense_gguf(path, seed=1)
    assert facts(path, work).sha256 == digest.of_file(path) != first


def test_what_a_pass_reads_follows_the_kv_cache_s_type(tmp_path: Path) -> None:
    target = resolve(str(dense_gguf(tmp_path / "m.gguf")))
    f16, q8 = (shape_behind(target, RuntimeOptions(type_k=kind, type_v=kind)) for kind in ("f16", "q8_0"))
    assert f16 is not None
    assert q8 is not None
    assert bytes_of_pass(f16, 1, 1, 0) == bytes_of_pass(q8, 1, 1, 0)
    assert q8.kv_bytes == pytest.approx(f16.kv_bytes * 34 / 64)
