"""SentencePiece vocabularies for a GGUF where there is no tokenizer.model, only the tokenizer.json made of it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers

from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.engines.gguf.vocabulary_only import engine_ids, write_vocabulary
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.language import sentencepiece_model as spm
from edgellm.language.tokenizer import load_tokenizer, tokenizer_from_pieces
from japanese_samples import SENTENCES
from tiny_checkpoints import TINY_JA
from tiny_gguf import vocabulary_gguf


@pytest.fixture
def unigram(tmp_path: Path) -> Path:
    """tiny-ja's files without tokenizer.model; tests/oracle compares the whole file with the one made of that."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(TINY_JA / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.json as Llama 2's and Mistral's: SentencePiece's BPE with byte fallback, written as merges."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=trained, vocab_size=600, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    ids = {piece: i for i, piece in enumerate(spm.read(trained.getvalue()).pieces)}
    merges = []
    for piece in ids:  # in the order of their scores
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if not piece.startswith("<")]
        merges += sorted((p for p in pairs if ids.keys() >= {*p}), key=lambda p: (ids[p[0]], ids[p[1]]))
    made = tokenizers.Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder = tmp_path_factory.mktemp("bpe")
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_merge_ranks_become_scores_by_which_the_engine_finds_the_same_ids(bpe: Path, tmp_path: Path) -> None:
    vocabulary = read_vocabulary(bpe, 640)
    assert (vocabulary.model, vocabulary.add_space_prefix) == ("llama", None)
    assert vocabulary.scores is not None
    texts = [*SENTENCES, "", "𠮷 です\n\t "]
    expected = [e.ids for e in tokenizers.Tokenizer.from_file(str(bpe / "tokenizer.json")).encode_batch(texts)]
    kinds = [int(kind) for kind in vocabulary.types]
    # The rebuilding in `language` is told what the vocabulary says, and gives it to the engine again.
    rebuilt = tokenizer_from_pieces(vocabulary.tokens, vocabulary.scores, kinds, bos_id=1, eos_id=2)
    assert rebuilt.kind == "bpe"
    assert rebuilt.encode_lines(texts) == expected
    write_vocabulary(rebuilt, tmp_path / "bpe.gguf")
    assert engine_ids(tmp_path / "bpe.gguf", texts) == expected


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({"normalizer": None, "pre_tokenizer": METASPACE | {"split": False}}, True),
        ({"normalizer": None, "pre_tokenizer": METASPACE | {"split": True}}, True),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}}, True),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}}, False),
        ({"normalizer": None}, False),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, False),
    ],
)
def test_a_bpe_with_bytes_is_taken_where_it_does_no_more_to_a_text_than_a_gguf_says(
    changes: dict[str, Any], held: bool, bpe: Path, tmp_path: Path
) -> None:
    changed = json.loads((bpe / "tokenizer.json").read_text()) | changes
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
    if not held:
        with pytest.raises(UsageError, match="in a way that no GGUF can hold"):
            read_vocabulary(tmp_path, 640)
        return
    exact = load_tokenizer(tmp_path)
    bare = tokenizer_of(read_header(vocabulary_gguf(tmp_path / "v.gguf", read_vocabulary(tmp_path, 640))))
    assert bare.encode_lines(SENTENCES) == exact.encode_lines(SENTENCES)


def test_a_cut_at_spaces_is_refused_where_pieces_go_on_over_them(bpe: Path, tmp_path: Path) -> None:
    description = json.loads((bpe / "tokenizer.json").read_text()) | {"normalizer": None, "pre_tokenizer": METASPACE}
    description["model"]["vocab"]["▁▁"] = len(description["model"]["vocab"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match="in a way that no GGUF can hold"):
        read_vocabulary(tmp_path, 640)


def _normalised(description: dict[str, Any]) -> None:
    description["normalizer"]["normalizers"].append({"type": "NFKC"})


def _special_that_strips(description: dict[str, Any]) -> None:
    description["added_tokens"][3]["lstrip"] = True


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_normalised, UsageError, "in a way that no GGUF can hold; add the tokenizer.model"),
        (_special_that_strips, UsageError, "no GGUF can hold"),
        (lambda d: d["model"].update(vocab=[["a"]]), BadInput, r"tokenizer\.json is malformed"),
        (lambda d: d["model"].update(unk_id=99999), BadInput, r"tokenizer\.json is malformed"),
        (lambda d: d["model"]["vocab"].append(["one more", -20.0]), BadInput, r"8193 tokens where .* 8192 rows"),
        (lambda d: d["model"]["vocab"].__setitem__(400, ["東京", -9.0]), BadInput, "several ids to '東京'"),
    ],
)
def test_a_unigram_vocabulary_that_a_gguf_cannot_hold_is_refused(
    change: Callable[[dict[str, Any]], None], error: type[EdgellmError], message: str, unigram: Path
) -> None:
    path = unigram / "tokenizer.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    assert "東京" in [piece for piece, _ in description["model"]["vocab"]]
    assert len(read_vocabulary(unigram, 8192).tokens) == 8192
    change(description)
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(error, match=message):
        read_vocabulary(unigram, 8192)


def test_more_pieces_or_added_tokens_than_rows_are_refused(unigram: Path) -> None:
    shutil.copyfile(TINY_JA / "tokenizer.model", unigram / "tokenizer.model")
    with pytest.raises(BadInput, match=r"8192 tokens where vocab_size .* 8191 rows"):
        read_vocabulary(unigram, 8191)
    (unigram / "added_tokens.json").write_text('{"<extra>": 8192}')
    with pytest.raises(BadInput, match=r"8193 tokens where vocab_size .* 8192 rows"):
        read_vocabulary(unigram, 8192)
