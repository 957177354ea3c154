"""A GGUF by itself gives the ids of the checkpoint's files, where these do something to a text before they cut it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import sentencepiece

from byte_level_bpe import TEXT, byte_level_bpe
from edgellm.engines.gguf.header import NFC, RUN_LENGTHS, read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.engines.gguf.vocabulary_only import engine_ids
from edgellm.errors import BadInput
from edgellm.language.tokenizer import Part, load_tokenizer
from edgellm.stages.verify import check_tokenizer
from japanese_samples import SENTENCES, TRAPS
from tiny_checkpoints import TINY_JA
from tiny_gguf import vocabulary_gguf
from tiny_plamo import write_tokenizer

COMBINING = ["カ\u3099イト\u3099フ\u3099ック", "は\u3099と<|im_end|>か\u3099"]


@pytest.mark.parametrize(("rule", "collapses"), [("nmt_nfkc", True), ("nfkc", False), ("identity", True)])
def test_what_a_sentencepiece_model_normalises_is_normalised(rule: str, collapses: bool, tmp_path: Path) -> None:
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=trained, vocab_size=472, model_type="unigram",
        byte_fallback=True, character_coverage=0.98, normalization_rule_name=rule,
        remove_extra_whitespaces=collapses, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(trained.getvalue())
    texts = [*SENTENCES, *TRAPS.values(), "ＡＢＣ１２３", "  二つ  三つ   "]
    expected = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue()).encode(texts)
    header = read_header(vocabulary_gguf(tmp_path / "v.gguf", read_vocabulary(tmp_path, 480)))
    assert tokenizer_of(header).encode_lines(texts) == expected
    assert load_tokenizer(tmp_path).encode_lines(texts) == expected
    assert engine_ids(header.path, ["海"])  # the engine loads such a file, and does none of that
    assert ("tokenizer.ggml.precompiled_charsmap" in header.metadata) is (rule != "identity")
    assert header.removes_extra_whitespaces is collapses
    [round_trip, _] = check_tokenizer(load_tokenizer(tmp_path), header.path, "gguf")
    assert round_trip.passed, round_trip.detail


def test_the_identity_adds_no_keys(tmp_path: Path) -> None:
    header = read_header(vocabulary_gguf(tmp_path / "v.gguf", read_vocabulary(TINY_JA, 8192)))
    assert not [key for key in header.metadata if "charsmap" in key or "whitespaces" in key or key.startswith("edge")]


@pytest.mark.parametrize(
    ("name", "normalizer", "own"),
    [
        ("qwen2", {"type": "NFC"}, None),
        ("qwen2", None, False),
        ("gpt-4o", {"type": "NFC"}, True),
        ("deepseek-v3", {"type": "Sequence", "normalizers": []}, None),
    ],
)
def test_byte_level_text_is_put_in_form_nfc_where_the_checkpoint_does(
    name: str, normalizer: dict[str, object] | None, own: bool | None, tmp_path: Path
) -> None:
    path = byte_level_bpe(tmp_path, name) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": normalizer}))
    header = read_header(vocabulary_gguf(tmp_path / "v.gguf", read_vocabulary(tmp_path, 512)))
    exact, bare = load_tokenizer(tmp_path), tokenizer_of(header)
    assert header.metadata.get(NFC) is own
    assert bare.encode_lines([*TEXT, COMBINING[0]]) == exact.encode_lines([*TEXT, COMBINING[0]])
    assert not any(map(bare.is_special, bare.encode(COMBINING[1])))
    prompt = [Part("<|im_start|>", trusted=True), Part(COMBINING[0], trusted=False)]
    assert bare.encode_parts(prompt) == exact.encode_parts(prompt)
    normalised = exact.encode(COMBINING[0]) != engine_ids(header.path, COMBINING)[0]
    assert normalised is ("NFC" in bare.origin.reason) is (normalizer == {"type": "NFC"})


@pytest.mark.parametrize(("repeats", "spaces"), [(2, None), (None, 1), (2, 1), (None, None)])
def test_plamo3s_runs_are_cut_out(repeats: int | None, spaces: int | None, tmp_path: Path) -> None:
    thresholds = {"break_around_repeated_chars_threshold": repeats, "break_around_consecutive_spaces_threshold": spaces}
    write_tokenizer(tmp_path, tokenizer_class="Plamo3Tokenizer", **thresholds)
    vocabulary = read_vocabulary(tmp_path, 2000)
    header = read_header(vocabulary_gguf(tmp_path / "v.gguf", vocabulary, "plamo3"))
    assert [header.metadata[key] for key in RUN_LENGTHS] == [repeats or 0, spaces or 0]
    runs = ["そのままで", "前 「後」"]  # each of which a piece goes over the edge of
    texts = [*SENTENCES, *TRAPS.values(), "ーーーーーですか", "です   です    です", "あ<|plamo:op|>い", *runs]
    bare = tokenizer_of(header)
    assert bare.encode_lines(texts) == load_tokenizer(tmp_path).encode_lines(texts)
    whole = ["そのまま" in map(bare.token, bare.encode(runs[0])), " 「" in map(bare.token, bare.encode(runs[1]))]
    assert whole == [repeats is None, spaces is None]
    assert "runs" not in bare.origin.reason


def test_a_plamo3_file_that_does_not_state_the_runs_is_told(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)  # as PLaMo 2's
    vocabulary = read_vocabulary(tmp_path, 2000)
    assert not vocabulary.own_keys
    for name, told in (("plamo2", False), ("plamo3", True)):
        bare = tokenizer_of(read_header(vocabulary_gguf(tmp_path / f"{name}.gguf", vocabulary, name)))
        assert ("does not say how long a run" in bare.origin.reason) is told


def test_lengths_of_runs_that_are_none_are_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, tokenizer_class="Plamo3Tokenizer", break_around_repeated_chars_threshold=-3)
    with pytest.raises(BadInput, match=r"\(-3, 0\) long"):
        read_vocabulary(tmp_path, 2000)


def test_a_file_whose_name_is_no_utf_8_is_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.gguf")
    vocabulary_gguf(tmp_path / "v.gguf", read_vocabulary(TINY_JA, 8192)).rename(path)
    assert engine_ids(path, ["海"])
