from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix import collect
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.types import FILE_TYPES
from edgellm.language.tokenizer import load_tokenizer
from edgellm.records.recipe import Gate
from edgellm.records.results import Fidelity
from edgellm.records.statistics import Interval
from edgellm.stages import verify
from tiny_checkpoints import random_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    convert(random_llama(folder / "checkpoint", layers=1), folder / "base.gguf", "F32")
    return folder / "base.gguf"


# Types whose tensors are named otherwise than the mixture; MXFP4_MOE needs experts, and IQ1 and IQ2 seconds each.
@pytest.mark.parametrize("name", ["IQ3_M", "IQ3_S", "IQ3_XS", "Q2_K_S", "Q3_K_L", "Q5_K_S", "TQ1_0", "IQ4_NL", "Q4_0"])
def test_a_file_of_each_mixture_holds_the_type_that_was_asked_for(base: Path, tmp_path: Path, name: str) -> None:
    imatrix = collect(base, [list(range(20, 60))]) if FILE_TYPES[name].needs_imatrix else None
    quantize(base, tmp_path / "q.gguf", name, imatrix)
    assert verify.verdict_of(verify.check_structure(tmp_path / "q.gguf", "gguf", name)).passed


def test_a_file_of_another_type_is_found(base: Path, tmp_path: Path) -> None:
    quantize(base, tmp_path / "q.gguf", "Q8_0")
    assert not verify.verdict_of(verify.check_structure(tmp_path / "q.gguf", "gguf", "Q4_K_M")).passed


def test_a_truncated_file_does_not_pass(base: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(base.read_bytes()[:-4096])
    assert not verify.verdict_of(verify.check_structure(tmp_path / "cut.gguf", "gguf", "F32")).passed


def test_a_vocabulary_padded_to_the_height_of_the_embedding_passes(tmp_path: Path) -> None:
    checkpoint = random_llama(tmp_path / "checkpoint", layers=1, vocab=8448)
    convert(checkpoint, tmp_path / "padded.gguf", "F16")
    assert len(read_header(tmp_path / "padded.gguf").tokens) == 8448
    checks = verify.check_tokenizer(load_tokenizer(checkpoint), tmp_path / "padded.gguf", "gguf")
    assert verify.verdict_of(checks).passed


def test_a_piece_that_differs_from_the_tokenizer_s_is_counted(base: Path, tmp_path: Path, tiny_ja: Path) -> None:
    """The same vocabulary with two pieces exchanged."""
    document = json.loads((tiny_ja / "tokenizer.json").read_text())
    vocabulary = document["model"]["vocab"]
    vocabulary[700], vocabulary[701] = vocabulary[701], vocabulary[700]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    (tmp_path / "tokenizer_config.json").write_bytes((tiny_ja / "tokenizer_config.json").read_bytes())
    check = verify.check_tokenizer(load_tokenizer(tmp_path), base, "gguf")[-1]
    assert (check.name, check.passed, check.value) == ("vocabulary pieces", False, 2.0)


def test_a_vocabulary_rebuilt_from_the_file_agrees_with_it(base: Path) -> None:
    assert verify.verdict_of(verify.check_tokenizer(tokenizer_of(read_header(base)), base, "gguf")).passed


def test_a_vocabulary_that_loses_characters_does_not_pass_for_one_that_normalises(tmp_path: Path) -> None:
    """Lower-casing is a normaliser; a rare character that no piece spells is lost all the same."""
    document = json.loads((random_llama(tmp_path / "c", layers=1) / "tokenizer.json").read_text())
    document["model"]["byte_fallback"] = False
    document["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, document["normalizer"]]}
    (tmp_path / "c" / "tokenizer.json").write_text(json.dumps(document))
    tokenizer = load_tokenizer(tmp_path / "c")
    assert tokenizer.normalizes
    assert verify.survives("ABC", tokenizer)
    assert not verify.survives("𠮷野家", tokenizer)


def fidelity(kld: float, low: float, high: float) -> Fidelity:
    one, top = Interval(value=1.0, low=1.0, high=1.0), Interval(value=95.0, low=94.0, high=96.0)
    return Fidelity(
        tokens=10, documents=2, mean_kld=Interval(value=kld, low=low, high=high), median_kld=one, p999_kld=one,
        same_top_percent=top, perplexity=2.0, reference_perplexity=2.0, perplexity_ratio=one, bits_per_byte=one,
        reference_bits_per_byte=1.0,
    )  # fmt: skip


def test_the_gate_looks_at_the_upper_end_of_the_interval() -> None:
    gate = Gate(max_mean_kld=0.02)
    assert verify.verdict_of(verify.check_fidelity(fidelity(0.01, 0.009, 0.019), gate)).passed
    assert not verify.verdict_of(verify.check_fidelity(fidelity(0.01, 0.009, 0.021), gate)).passed


def test_the_gate_looks_at_the_lower_end_of_a_share() -> None:
    assert verify.verdict_of(verify.check_fidelity(fidelity(0, 0, 0), Gate(min_same_top_percent=93.5))).passed
    assert not verify.verdict_of(verify.check_fidelity(fidelity(0, 0, 0), Gate(min_same_top_percent=94.5))).passed


def test_numbers_that_are_not_finite_never_pass() -> None:
    assert not verify.verdict_of(verify.check_fidelity(fidelity(float("nan"), 0, 0), None)).passed


def test_documents_by_kind_begin_with_those_of_the_gate(tiny_ja: Path) -> None:
    tokenizer = load_tokenizer(tiny_ja)
    gated, by_kind = verify.verification_documents(tokenizer), verify.documents_by_kind(tokenizer)
    whole = [d for d in by_kind if not d.only_kind]
    assert [(d.ids, d.utf8_bytes, d.characters) for d in whole] == [
        (d.ids, d.utf8_bytes, d.characters) for d in gated
    ]  # fmt: skip
    assert by_kind[: len(whole)] == whole
    assert {d.kind for d in gated} == {""}
    kinds = {kind: sum(d.kind == kind for d in by_kind) for kind in {d.kind for d in by_kind}}
    assert kinds.keys() == {"literary", "statute", "everyday", "business", "technical", "english", "code"}
    assert min(kinds.values()) >= 8


def test_a_limit_takes_as_many_documents_of_each_kind(tiny_ja: Path) -> None:
    kinds = [d.kind for d in verify.documents_by_kind(load_tokenizer(tiny_ja), limit=2)]
    assert {kinds.count(kind) for kind in kinds} == {2}
