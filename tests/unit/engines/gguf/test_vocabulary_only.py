"""llama.cpp's own ids: equal to sentencepiece's for BPE, other than training's for Unigram."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece

from edgellm.engines.gguf.vocabulary_only import EngineVocabulary, engine_ids, write_vocabulary
from edgellm.errors import EngineFailed, UsageError
from edgellm.language import sentencepiece_model as spm
from edgellm.language.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_pieces
from japanese_samples import SENTENCES, TRAPS, sampled_lines
from tiny_checkpoints import TINY_JA


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@pytest.fixture(scope="module")
def tiny_vocabulary(tiny: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tiny-ja.gguf"
    write_vocabulary(tiny, path)
    return path


def test_the_engine_tokenizes_a_unigram_vocabulary_otherwise(
    tiny: Tokenizer, tiny_vocabulary: Path, shared: Path
) -> None:
    lines = sampled_lines(shared, 2000)
    exact, engine = tiny.encode_lines(lines), engine_ids(tiny_vocabulary, lines)
    differing = sum(a != b for a, b in zip(exact, engine, strict=True)) / len(lines)
    more = sum(map(len, engine)) / sum(map(len, exact)) - 1
    print(f"the engine differs on {differing:.1%} of the lines and needs {more:.1%} more tokens")
    assert differing > 0.3
    assert more > 0.02


def test_the_engine_differs_on_own_sentences_but_spells_the_same_text(tiny: Tokenizer, tiny_vocabulary: Path) -> None:
    exact, engine = tiny.encode_lines(SENTENCES), engine_ids(tiny_vocabulary, SENTENCES)
    assert exact != engine
    assert [tiny.decode(ids) for ids in engine] == SENTENCES


def test_the_engine_is_exact_for_a_bpe_vocabulary(tmp_path: Path, shared: Path) -> None:
    lines = sampled_lines(shared, 3000)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines[:1000]), model_writer=trained, vocab_size=3000, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    model = spm.read(trained.getvalue())
    tokenizer = tokenizer_from_pieces(model.pieces, model.scores, model.types, bos_id=1, eos_id=2)
    write_vocabulary(tokenizer, tmp_path / "bpe.gguf")
    texts = [*lines, *SENTENCES, *TRAPS.values()]
    ids = tokenizer.encode_lines(texts)
    assert engine_ids(tmp_path / "bpe.gguf", texts) == ids
    assert sum(map(len, ids)) < sum(map(len, texts))
    assert "merge ranks" in tokenizer.origin.reason


def test_a_file_that_is_no_gguf_is_refused_with_the_engines_reason(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no model")
    with pytest.raises(EngineFailed, match=r"x\.gguf"):
        EngineVocabulary(tmp_path / "x.gguf")


def test_a_vocabulary_that_is_not_sentencepieces_cannot_be_written(tmp_path: Path) -> None:
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="SentencePiece"):
        write_vocabulary(load_tokenizer(tmp_path), tmp_path / "x.gguf")
