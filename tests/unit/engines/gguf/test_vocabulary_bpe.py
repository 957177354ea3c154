"""Byte-level BPE in a GGUF: llama.cpp finds the ids of the library that trained it, by the right name of the rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest

from byte_level_bpe import PRE_TOKENIZERS, SPECIAL, TEXT, byte_level_bpe
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.engines.gguf.vocabulary_only import engine_ids
from edgellm.errors import BadInput, EdgellmError, UsageError
from edgellm.language.tokenizer import load_tokenizer
from tiny_gguf import vocabulary_gguf

ROWS = 512


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_the_engine_finds_the_ids_of_training_by_the_name_that_the_file_implies(name: str, tmp_path: Path) -> None:
    vocabulary = read_vocabulary(byte_level_bpe(tmp_path / "t", name), ROWS)
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", name)
    expected = load_tokenizer(tmp_path / "t").encode_lines(TEXT)
    assert engine_ids(vocabulary_gguf(tmp_path / "right.gguf", vocabulary), TEXT) == expected


@pytest.mark.parametrize("name", ["qwen2", "llama-bpe", "gpt-4o", "deepseek-v3", "tekken"])
def test_another_name_gives_other_ids(name: str, tmp_path: Path) -> None:
    vocabulary = read_vocabulary(byte_level_bpe(tmp_path / "t", name), ROWS)
    right, wrong = vocabulary, replace(vocabulary, pre="gpt-2")
    ids = [engine_ids(vocabulary_gguf(tmp_path / f"{v.pre}.gguf", v), TEXT) for v in (right, wrong)]
    assert ids[0] != ids[1]


def test_the_engine_leaves_out_qwens_normalisation_which_is_one_reason_to_tokenize_before_it(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(byte_level_bpe(tmp_path / "t", "qwen2"), ROWS)
    tokenizer, two_characters, one = load_tokenizer(tmp_path / "t"), "か\u3099", "が"
    assert tokenizer.encode(two_characters) == tokenizer.encode(one)
    by_engine = engine_ids(vocabulary_gguf(tmp_path / "v.gguf", vocabulary), [two_characters, one])
    assert by_engine[0] != by_engine[1] == tokenizer.encode(one)


def test_the_last_rows_are_special_ordinary_and_unused_tokens(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(byte_level_bpe(tmp_path, "qwen2"), ROWS)
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.USER_DEFINED] + [gguf.TokenType.UNUSED] * 8
    assert vocabulary.tokens[500:] == [*SPECIAL, "<think>", *(f"[PAD{i}]" for i in range(504, 512))]
    assert vocabulary.types[500:] == kinds
    assert set(vocabulary.types[:500]) == {gguf.TokenType.NORMAL}
    assert vocabulary.special.special_token_ids == {"eos": 502, "pad": 500}
    assert vocabulary.scores is None


def test_two_ways_to_write_a_cut_and_line_ends_are_one_rule(tmp_path: Path) -> None:
    def rewrite(description: dict[str, Any]) -> None:
        split = description["pre_tokenizer"]["pretokenizers"][0]
        regex = split["pattern"]["Regex"].replace(r"\r", "\r").replace(r"\n", "\n")
        split.update(pattern={"Regex": regex}, behavior="Removed", invert=True)

    assert read_vocabulary(changed(byte_level_bpe(tmp_path, "gpt-4o"), rewrite), ROWS).pre == "gpt-4o"


def test_llama_3s_rule_without_whole_words_has_another_name(tmp_path: Path) -> None:
    folder = changed(byte_level_bpe(tmp_path, "llama-bpe"), lambda d: d["model"].update(ignore_merges=False))
    assert read_vocabulary(folder, ROWS).pre == "smaug-bpe"


def _other_regex(description: dict[str, Any]) -> None:
    description["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{Han}+|\S+"


def _two_names_for_an_id(description: dict[str, Any]) -> None:
    description["model"]["vocab"]["twice"] = 7


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_other_regex, UsageError, r"splits text by a rule that llama\.cpp has no name for \(\\p\{Han\}"),
        (lambda d: d.update(pre_tokenizer=None), UsageError, "has no name for"),
        (lambda d: d.update(normalizer={"type": "Lowercase"}), UsageError, "normalises text by Lowercase"),
        (lambda d: d["model"].update(merges=[]), BadInput, "holds no merges"),
        (_two_names_for_an_id, BadInput, "gives one id to several tokens"),
        (lambda d: d["model"].update(vocab=["a"]), BadInput, r"tokenizer\.json is malformed"),
        (lambda d: d.update(model=None), BadInput, r"tokenizer\.json is malformed"),
        (lambda d: d["model"].update(type="WordPiece"), UsageError, "of kind WordPiece"),
    ],
)
def test_a_tokenizer_that_no_engine_would_follow_is_refused(
    change: Callable[[dict[str, Any]], None], error: type[EdgellmError], message: str, tmp_path: Path
) -> None:
    folder = changed(byte_level_bpe(tmp_path, "qwen2"), change)
    with pytest.raises(error, match=message):
        read_vocabulary(folder, ROWS)


def test_more_tokens_than_rows_of_the_embedding_are_refused(tmp_path: Path) -> None:
    folder = byte_level_bpe(tmp_path, "qwen2")
    assert len(read_vocabulary(folder, 504).tokens) == 504
    with pytest.raises(BadInput, match=r"504 tokens where vocab_size .* 503 rows"):
        read_vocabulary(folder, 503)


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / "tokenizer.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    change(description)
    path.write_text(json.dumps(description), encoding="utf-8")
    return folder
