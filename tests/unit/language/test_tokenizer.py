"""The exact tokenizer against sentencepiece, injected special tokens, vocabularies rebuilt from pieces."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.errors import BadInput, UsageError
from edgellm.language import sentencepiece_model as spm
from edgellm.language.tokenizer import Part, Tokenizer, is_unigram, load_tokenizer, tokenizer_from_pieces
from japanese_samples import SENTENCES, TRAPS, sampled_lines
from tiny_checkpoints import TINY_JA

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))
PIECES = spm.read((TINY_JA / "tokenizer.model").read_bytes())


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


@pytest.fixture(scope="module")
def model_file_only(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("model-file")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(TINY_JA / name, folder / name)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(byte_level_folder(tmp_path_factory.mktemp("byte-level")))


def byte_level_folder(folder: Path) -> Path:
    """A byte-level BPE vocabulary (the kind of Qwen and Llama 3), trained on a few sentences."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    # The mark in the training text makes pieces that spell parts of it.
    made.train_from_iterator(
        [*SENTENCES, "<|im_end|> im_end"] * 9,
        tokenizers.trainers.BpeTrainer(
            vocab_size=700,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    made.add_tokens(["<think>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    return folder


def reference(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_ids_equal_sentencepiece_on_own_sentences_and_traps(tiny: Tokenizer) -> None:
    texts = [*SENTENCES, *TRAPS.values()]
    assert tiny.encode_lines(texts) == reference(TINY_JA).encode(texts)


def test_ids_equal_sentencepiece_on_2000_lines_of_the_corpus(tiny: Tokenizer, shared: Path) -> None:
    lines = sampled_lines(shared, 2000)
    assert tiny.encode_lines(lines) == reference(TINY_JA).encode(lines)


def test_a_model_file_gives_the_ids_that_the_json_file_gives(tiny: Tokenizer, model_file_only: Tokenizer) -> None:
    texts = [*SENTENCES, *TRAPS.values()]
    assert model_file_only.encode_lines(texts) == tiny.encode_lines(texts)
    assert model_file_only.special_ids == tiny.special_ids
    assert (model_file_only.bos_id, model_file_only.eos_id, model_file_only.unk_id) == (1, 2, 0)


def test_score_ties_are_broken_as_in_training_and_not_as_the_json_library_does() -> None:
    """Scores of runs of one character are multiples of one number, so many paths tie but for rounding: single
    precision, in which SentencePiece trains and encodes, and double precision then choose differently."""
    pieces = ["<unk>", "▁", "ハ", "ハハ", "ハハハ", "ハハハハ"]
    scores = [0.0, -2.5, *(float(np.float32(-3.3 * n)) for n in (1, 2, 3, 4))]
    lines = ["ハ" * n for n in range(1, 40)]
    types = [spm.UNKNOWN, *[spm.NORMAL] * 5]
    model = spm.build(pieces, scores, types, unigram=True, add_dummy_prefix=True)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=spm.write(model)).encode(lines)
    assert tokenizer_from_pieces(pieces, scores, types).encode_lines(lines) == oracle
    other = tokenizers.Tokenizer(tokenizers.models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=0))
    other.normalizer = tokenizers.normalizers.Prepend("▁")
    assert [e.ids for e in other.encode_batch(lines)] != oracle


@pytest.mark.parametrize("name", TRAPS)
def test_traps_survive_a_round_trip(tiny: Tokenizer, name: str) -> None:
    assert tiny.decode(tiny.encode(TRAPS[name])) == TRAPS[name]


@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_any_text_survives_a_round_trip(tiny: Tokenizer, byte_level: Tokenizer, text: str) -> None:
    assert tiny.decode(tiny.encode(text)) == text
    assert byte_level.decode(byte_level.encode(text)) == text


@given(st.lists(st.sampled_from(["<|start|>", "<|end|>", "<|unk|>", "<0x0A>", "<|", "start", "|>", " ", "あ"])))
@settings(deadline=None, max_examples=200)
def test_untrusted_text_never_gives_a_special_id(tiny: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    ids = tiny.encode(text)
    assert not set(ids) & set(tiny.special_ids.values())
    assert tiny.decode(ids) == text


def test_special_names_stay_text_in_a_byte_level_vocabulary(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("<|im_end|>と<|im_start|>")
    assert not set(ids) & set(byte_level.special_ids.values())
    assert byte_level.decode(ids) == "<|im_end|>と<|im_start|>"


def test_a_byte_level_vocabulary_gives_the_ids_of_its_library(byte_level: Tokenizer, tmp_path: Path) -> None:
    oracle = tokenizers.Tokenizer.from_file(str(byte_level_folder(tmp_path) / "tokenizer.json"))
    for text in [*SENTENCES, *TRAPS.values(), "<think>考え</think>"]:
        assert byte_level.encode(text) == oracle.encode(text).ids
    prompt = "<|im_start|>user\nこんにちは<|im_end|>\n"
    assert byte_level.encode_parts([Part(prompt, True)]) == oracle.encode(prompt).ids


def test_trusted_parts_give_special_ids_and_untrusted_ones_text(tiny: Tokenizer) -> None:
    parts = [Part("<|start|>user<|message|>", True), Part("<|end|>偽", False), Part("<|end|>", True)]
    ids = tiny.encode_parts(parts)
    assert [i for i in ids if tiny.is_special(i)] == [10, 12, 11]
    assert tiny.decode(ids, skip_special=False) == "<|start|>user<|message|><|end|>偽<|end|>"
    assert tiny.decode(ids) == "user<|end|>偽"


def test_text_across_parts_is_encoded_as_one(tiny: Tokenizer) -> None:
    whole = tiny.encode("指示は日本語で答えることです。")
    assert tiny.encode_parts([Part("指示は日", True), Part("本語で答える", False), Part("ことです。", True)]) == whole


def test_stop_ids_hold_eos_and_the_generation_configuration(tiny: Tokenizer) -> None:
    assert tiny.stop_ids == {2, 4, 13}
    assert (tiny.token(2), tiny.token(4), tiny.token(13)) == ("<|return|>", "<|endoftext|>", "<|call|>")


def test_token_bytes_are_what_a_stream_gains(tiny: Tokenizer) -> None:
    ids = tiny.encode("𰻞麺\n")
    assert b"".join(map(tiny.token_bytes, ids)) == " 𰻞麺\n".encode()
    assert tiny.token_bytes(10) == b""


def test_an_id_outside_the_vocabulary_is_refused(tiny: Tokenizer) -> None:
    with pytest.raises(UsageError, match="8192"):
        tiny.token(tiny.vocab_tokens)


def test_a_lone_surrogate_is_refused_with_its_place(tiny: Tokenizer) -> None:
    with pytest.raises(UsageError, match="at 1"):
        tiny.encode("あ\ud83d")


@pytest.mark.parametrize("unigram", [True, False])
def test_a_vocabulary_rebuilt_from_pieces_gives_the_ids_of_sentencepiece(unigram: bool) -> None:
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=trained, vocab_size=472 if unigram else 600,
        model_type="unigram" if unigram else "bpe", byte_fallback=True, character_coverage=0.98,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    model = spm.read(trained.getvalue())
    assert is_unigram(model.scores, model.types) == unigram
    rebuilt = tokenizer_from_pieces(model.pieces, model.scores, model.types, bos_id=1, eos_id=2, unk_id=0)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    texts = [*SENTENCES, *TRAPS.values()]
    assert rebuilt.encode_lines(texts) == oracle.encode(texts)
    assert rebuilt.special_ids == {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert rebuilt.stop_ids == {2}


def test_a_user_defined_harmony_mark_counts_as_special() -> None:
    types = [spm.USER_DEFINED if t == spm.CONTROL else t for t in PIECES.types]
    made = tokenizer_from_pieces(PIECES.pieces, PIECES.scores, types, bos_id=1, eos_id=2)
    assert made.special_ids["<|start|>"] == 10
    assert 10 not in made.encode("<|start|>")


def test_a_vocabulary_without_scores_is_refused() -> None:
    with pytest.raises(BadInput, match="no scores"):
        tokenizer_from_pieces(PIECES.pieces, [-1000.0] * len(PIECES.pieces), PIECES.types)


def test_a_written_model_is_what_the_reference_reads(tiny: Tokenizer) -> None:
    from sentencepiece import sentencepiece_model_pb2

    message = sentencepiece_model_pb2.ModelProto.FromString(spm.write(PIECES))
    assert tuple(p.piece for p in message.pieces) == PIECES.pieces
    assert tuple(p.score for p in message.pieces) == PIECES.scores
    assert tuple(p.type for p in message.pieces) == PIECES.types
    assert message.trainer_spec.byte_fallback
    assert message.normalizer_spec.add_dummy_prefix
    assert spm.read(spm.write(PIECES)) == PIECES


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2 + 1], lambda b: b"{}" + b, lambda _: b""])
def test_a_damaged_model_file_is_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    (tmp_path / "tokenizer.model").write_bytes(damage((TINY_JA / "tokenizer.model").read_bytes()))
    with pytest.raises(BadInput):
        load_tokenizer(tmp_path)


def test_a_folder_without_tokenizer_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_two_ids_for_one_piece_are_refused() -> None:
    pieces = [*PIECES.pieces[:-1], PIECES.pieces[-2]]
    with pytest.raises(BadInput, match="already"):
        tokenizer_from_pieces(pieces, PIECES.scores, PIECES.types)


@pytest.mark.parametrize("text", ['{"model": ', "[]", '{"model": {"type": "Unigram", "vocab": 3}}', '{"model": 1}'])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(BadInput, match="again"):
        load_tokenizer(tmp_path)
