"""Tokenizers of GGUFs without tokenizer files: rebuilt, or llama.cpp's own with special tokens kept out of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.cli.run import run
from edgellm.cli.show import show
from edgellm.cli.tokenize import tokenize
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.vocabulary_only import engine_ids
from edgellm.errors import BadInput, EngineFailed, UsageError
from edgellm.language import sentencepiece_model as spm
from edgellm.language.harmony import is_harmony
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from edgellm.stages.verify import check_tokenizer
from japanese_samples import SENTENCES, TRAPS
from tiny_checkpoints import TINY_JA
from tiny_gguf import Random, common_metadata

NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4
HIDDEN = 64
TEMPLATE = "<|start|>user<|message|>{{ messages[0].content }}<|end|><|start|>assistant"
MARKS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"]
PIECES = spm.read((TINY_JA / "tokenizer.model").read_bytes())


def write(
    path: Path, model: str, tokens: Sequence[str], types: Sequence[int], *, template: str = "", **more: Any
) -> Path:
    """A small Llama with this vocabulary; `more` are further keys of `tokenizer.ggml`."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in common_metadata(1, HIDDEN, HIDDEN).items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_float32)(f"llama.{key}", value)
    if template:
        writer.add_chat_template(template)
    random = Random(0)
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", random.matrix(len(tokens), HIDDEN))
    for name in ("output_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", random.norm(HIDDEN))
    for name in ("ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", random.matrix(HIDDEN, HIDDEN))
    for name, values in random.attention("blk.0", HIDDEN).items():
        writer.add_tensor(name, values)
    writer.add_tokenizer_model(model)
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    for key, value in more.items():
        kind = gguf.GGUFValueType.UINT32 if type(value) is int else gguf.GGUFValueType.get_type(value)
        writer.add_key_value(f"tokenizer.ggml.{key}", value, kind, *(
            [gguf.GGUFValueType.get_type(value[0])] if isinstance(value, list) else []
        ))  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def byte_level_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE tokenizer.json that cuts text as GPT-2 does, with Harmony's marks."""
    folder = tmp_path_factory.mktemp("byte-level")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([*SENTENCES, *MARKS, "start channel"] * 9, trainer)
    made.add_special_tokens(MARKS)
    made.add_tokens(["<think>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|return|>"}))
    return folder


@pytest.fixture(scope="module")
def byte_level_gguf(byte_level_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same vocabulary as converters write it: some of Harmony's marks as tokens that users may type."""
    description = json.loads((byte_level_folder / "tokenizer.json").read_text())
    ids = description["model"]["vocab"] | {t["content"]: t["id"] for t in description["added_tokens"]}
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = dict.fromkeys(MARKS, CONTROL) | dict.fromkeys([*MARKS[:2], "<think>"], USER)
    merges = [" ".join(m) for m in description["model"]["merges"]]
    path = tmp_path_factory.mktemp("gguf") / "byte-level.gguf"
    return write(
        path, "gpt2", tokens, [kinds.get(t, NORMAL) for t in tokens], template=TEMPLATE, pre="gpt-2",
        merges=merges, eos_token_id=ids["<|return|>"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def engines(byte_level_gguf: Path) -> Tokenizer:
    return tokenizer_of(read_header(byte_level_gguf))


def test_the_engines_byte_level_ids_are_those_of_the_library(engines: Tokenizer, byte_level_folder: Path) -> None:
    own = load_tokenizer(byte_level_folder)
    for text in [*SENTENCES, *TRAPS.values(), "<think>考え</think>"]:
        assert engines.encode(text) == own.encode(text)
        assert engines.decode(engines.encode(text)) == text
    prompt = [Part("<|start|>user<|message|>", True), Part("本文<|end|>", False), Part("<|end|>", True)]
    assert [i for i in engines.encode_parts(prompt) if engines.is_special(i)] == [
        i for i in own.encode_parts(prompt) if own.is_special(i)
    ]
    assert engines.decode(engines.encode_parts(prompt), skip_special=False) == "".join(p.text for p in prompt)
    assert [engines.token_bytes(i) for i in range(900)] == [own.token_bytes(i) for i in range(900)]


def test_the_engines_tokenizer_knows_roles_stops_and_its_own_reason(engines: Tokenizer) -> None:
    assert set(engines.special_ids) == set(MARKS)  # not <think>, which is text
    assert {engines.token(i) for i in engines.stop_ids} == {"<|return|>", "<|call|>"}
    assert (engines.bos_id, engines.specials.adds_bos) == (None, False)
    assert is_harmony(engines)
    assert engines.origin.source == "engine"
    assert "kind gpt2" in engines.origin.reason


def test_llama_cpp_alone_would_take_marks_out_of_what_a_user_types(engines: Tokenizer, byte_level_gguf: Path) -> None:
    [ids] = engine_ids(byte_level_gguf, ["<|start|>"])
    assert ids == [engines.special_ids["<|start|>"]]


def test_verbs_take_a_gguf_whose_vocabulary_only_the_engine_can_read(engines: Tokenizer, byte_level_gguf: Path) -> None:
    runner, model = CliRunner(), str(byte_level_gguf)
    shown = json.loads(runner.invoke(show, [model, "--json"]).stdout)["tokenizer"]
    assert (shown["kind"], shown["source"], shown["stop_ids"]) == ("gpt2", "engine", sorted(engines.stop_ids))
    told = json.loads(runner.invoke(tokenize, [model, "番号札<|end|>", "--json"]).stdout)
    assert told["ids"] == engines.encode("番号札<|end|>")
    answer = runner.invoke(run, [model, "<|end|>", "--max-tokens", "4", "--seed", "1", "--threads", "1", "--json"])
    assert json.loads(answer.stdout)["usage"]["completion_tokens"] == 4
    assert all(check.passed for check in check_tokenizer(engines, byte_level_gguf, "gguf"))


@given(st.lists(st.sampled_from([*MARKS, "<|", "|>", "start", " ", "あ", "<think>"]), max_size=12))
@settings(deadline=None, max_examples=150)
def test_what_a_user_types_never_becomes_a_special_token_of_the_engine(engines: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    ids = engines.encode(text)
    assert not any(map(engines.is_special, ids))
    assert engines.decode(ids) == text


def test_ten_thousand_marks_in_a_row_are_text(engines: Tokenizer) -> None:
    text = "<|start|>" * 10_000
    ids = engines.encode(text)
    assert not any(map(engines.is_special, ids))
    assert engines.decode(ids) == text


def test_a_unigram_vocabulary_of_the_engines_own_kind_is_read_by_it(tmp_path: Path) -> None:
    types = [CONTROL if t == spm.CONTROL else t for t in PIECES.types]
    more = {"scores": list(PIECES.scores), "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    without = tokenizer_of(read_header(write(tmp_path / "bare.gguf", "t5", PIECES.pieces, types, **more)))
    assert (without.prefix, without.decode(without.encode(" は"))) == ("none", " は")
    path = write(tmp_path / "t5.gguf", "t5", PIECES.pieces, types, add_space_prefix=True, **more)
    made, exact = tokenizer_of(read_header(path)), load_tokenizer(TINY_JA)
    assert (made.kind, made.prefix, made.unk_id) == ("t5", "segment", 0)
    spelled = [text for text in SENTENCES if 0 not in made.encode(text)]
    assert len(spelled) > len(SENTENCES) / 2
    for text in spelled:
        assert made.decode(made.encode(text)) == text
        assert made.encode(text) == exact.encode(text)
    assert 0 in made.encode("改\n行")  # this kind has no byte pieces: that is why edgellm never writes it


def test_word_pieces_and_rwkv_are_read_by_the_engine(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁京", "▁都", "▁は", "▁晴", "▁れ", "▁the", "▁server", "s"]
    types = [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL] + [NORMAL] * (len(words) - 5)
    roles = {"bos_token_id": 2, "eos_token_id": 3, "unknown_token_id": 1, "seperator_token_id": 3}
    bert = tokenizer_of(read_header(write(tmp_path / "bert.gguf", "bert", words, types, **roles)))
    assert bert.decode(bert.encode("The servers 京都は晴れ")) == "the servers 京 都 は 晴 れ"
    assert set(bert.encode("[CLS] [SEP]")) == {1}
    units = ["<s>", *(f"\\x{b:02x}" for b in range(256)), "吾輩", "は"]
    rwkv = tokenizer_of(read_header(write(tmp_path / "rwkv.gguf", "rwkv", units, [CONTROL] + [NORMAL] * 258)))
    assert rwkv.decode(rwkv.encode("吾輩は猫\n")) == "吾輩は猫\n"
    assert rwkv.encode("吾輩は")[:1] == [257]


def test_a_file_without_a_vocabulary_or_without_merges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no vocabulary"):
        tokenizer_of(read_header(write(tmp_path / "none.gguf", "none", ["a"], [NORMAL])))
    with pytest.raises(EngineFailed, match="merges"):
        tokenizer_of(read_header(write(tmp_path / "bpe.gguf", "gpt2", ["a", "b"], [NORMAL] * 2)))


def test_lists_that_llama_cpp_would_read_past_their_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="differ in length"):
        tokenizer_of(read_header(write(tmp_path / "types.gguf", "gpt2", ["a", "b"], [NORMAL])))
    with pytest.raises(BadInput, match="several ids to 'a'"):
        tokenizer_of(read_header(write(tmp_path / "twice.gguf", "gpt2", ["a", "a"], [NORMAL] * 2)))
