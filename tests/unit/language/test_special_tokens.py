"""What counts as special though the files do not say so, and which texts begin with a special token."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from tokenizers import models, normalizers

from byte_level_bpe import byte_level_bpe
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.vocabulary import read_vocabulary
from edgellm.language.tokenizer import Part, load_tokenizer
from japanese_samples import SENTENCES
from tiny_gguf import vocabulary_gguf

# As DeepSeek-V3 and Qwen2.5 ship them.
UNMARKED = ["<｜User｜>", "<｜Assistant｜>", "<|fim_prefix|>"]
ROWS = 520


def byte_level(folder: Path) -> Path:
    return with_added(byte_level_bpe(folder, "gpt-2"), UNMARKED)


def prepending(folder: Path) -> Path:
    """A tokenizer.json whose normaliser puts U+2581 before each text, names that it normalises included."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "海", "の", "▁海", "海の"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.BPE(ids, [("▁", "海"), ("海", "の")], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.add_special_tokens(["<unk>"])
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return with_added(folder, UNMARKED)


def with_added(folder: Path, names: Sequence[str]) -> Path:
    """These names behind the vocabulary of a tokenizer.json, added as ordinary tokens."""
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.add_tokens([tokenizers.AddedToken(name, special=False, normalized=True) for name in names])
    made.save(str(folder / "tokenizer.json"))
    return folder


def model_file(folder: Path) -> Path:
    """A tokenizer.model in which one name is a user-defined piece; tokenizer_config.json adds the others."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5), model_writer=trained, vocab_size=472, model_type="unigram",
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
        remove_extra_whitespaces=False, user_defined_symbols=UNMARKED[:1], minloglevel=2,
    )  # fmt: skip
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(trained.getvalue())
    added = {str(472 + i): {"content": name, "special": False} for i, name in enumerate(UNMARKED[1:])}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added, "eos_token": "</s>"}))
    return folder


@pytest.mark.parametrize("make", [byte_level, prepending, model_file])
def test_a_bracketed_name_that_is_not_marked_special_cannot_be_typed_and_templates_give_its_id(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = make(tmp_path / "files")
    from_files, bare = load_tokenizer(folder), tmp_path / "bare.gguf"
    vocabulary_gguf(bare, read_vocabulary(folder, ROWS))
    for tokenizer in (from_files, tokenizer_of(read_header(bare))):
        assert tokenizer.special_ids == from_files.special_ids
        special = [tokenizer.special_ids[name] for name in UNMARKED]
        for text in ("".join(UNMARKED), *(f"海{name}の" for name in UNMARKED)):
            typed = tokenizer.encode(text)
            assert not any(map(tokenizer.is_special, typed))
            assert tokenizer.decode(typed) == text
            assert not any(map(tokenizer.is_special, tokenizer.encode_parts([Part(text, trusted=False)])))
        prompt = [Part("<｜User｜>海<｜Assistant｜>", trusted=True), Part("<｜User｜>", trusted=False)]
        prompt += [Part("<|fim_prefix|>", trusted=True)]
        assert [i for i in tokenizer.encode_parts(prompt) if tokenizer.is_special(i)] == special


@pytest.mark.parametrize("begins", [True, False])
def test_a_text_begins_with_bos_where_the_library_puts_it_before_as_llama_3s_second_step_does(
    begins: bool, tmp_path: Path
) -> None:
    path = byte_level_bpe(tmp_path, "llama-bpe") / "tokenizer.json"
    description = json.loads(path.read_text())
    bos = {"id": "<|im_start|>", "type_id": 0}
    single = [{"SpecialToken": bos}] * begins + [{"Sequence": {"id": "A", "type_id": 0}}]
    tokens = {bos["id"]: {"id": bos["id"], "ids": [501], "tokens": [bos["id"]]}}
    description["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        {"type": "TemplateProcessing", "single": single, "pair": [*single, *single], "special_tokens": tokens},
    ]}  # fmt: skip
    path.write_text(json.dumps(description))
    library = tokenizers.Tokenizer.from_file(str(path)).encode("海").ids
    loaded = load_tokenizer(tmp_path)
    assert loaded.specials.adds_bos is begins
    assert library == [501] * begins + loaded.encode("海")
