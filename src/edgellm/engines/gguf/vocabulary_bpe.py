"""Byte-level BPE vocabularies, from tokenizer.json, as GGUF's kind `gpt2`.

A GGUF does not hold the rule by which text is split before merging, only a name that llama.cpp knows it by
(`tokenizer.ggml.pre`). llama.cpp's own script finds the name by hashing the tokens of a sample text, so it knows the
vocabularies that it was told of; here it follows from the rule that tokenizer.json states.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from edgellm.engines.gguf.header import NFC, NFC_NAMES
from edgellm.engines.gguf.vocabulary_record import (
    Vocabulary,
    added_name,
    added_tokens,
    check_rows,
    filler,
    normalizer_steps,
    special_tokens,
    tokenizer_config,
)
from edgellm.errors import BadInput, UsageError

# Parts of the rules; \p{L} is a letter, \p{N} a digit of any script.
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_WORD_OF_CASES = (rf"{_LEAD}{_UPPER}*{_LOWER}+", rf"{_LEAD}{_UPPER}+{_LOWER}*")
_DIGIT = r"\p{N}"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # of ByteLevel with `use_regex`
_LLAMA3 = rf"{_ENDINGS}|{_LEAD}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_TAIL}"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*{_TAIL}"
)
# Rules by the regular expressions that split a text one after another → llama.cpp's name.
# Source: llama.cpp, src/llama-vocab.cpp, which notes the expressions of tokenizer.json beside its own.
RULES: Mapping[tuple[str, ...], str] = {
    (rf"{_ENDINGS}|{_LEAD}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_TAIL}",): "qwen2",
    (rf"{_ENDINGS}|{_LEAD}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{_TAIL}",): "qwen35",
    (_LLAMA3,): "llama-bpe",
    (
        rf"{_WORD_OF_CASES[0]}{_ENDINGS}?|{_WORD_OF_CASES[1]}{_ENDINGS}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_TAIL}",
    ): "gpt-4o",
    (rf"{_WORD_OF_CASES[0]}|{_WORD_OF_CASES[1]}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_TAIL}",): "tekken",
    (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK3): "deepseek-v3",
    (_GPT2,): "gpt-2",
    (_DIGIT, _GPT2): "starcoder",
}
# With `llama-bpe` the engine takes a word that is a token whole; where the file wants merges only, it is this one.
MERGES_ONLY = {"llama-bpe": "smaug-bpe"}
# Two ways to write that a text is cut into what the expression matches.
CUTS = (("Isolated", False), ("Removed", True))


def from_byte_level_json(folder: Path, description: Mapping[str, Any], vocab_tokens: int) -> Vocabulary:
    """Tokens, their kinds and merges; raises UsageError for a rule of splitting that has no name in llama.cpp."""
    pre, nfc = pre_tokenizer_name(folder, description), normalises_to_nfc(folder, description)
    config = tokenizer_config(folder)
    vocabulary = description["model"]["vocab"]
    added = added_tokens(folder, config, description.get("added_tokens", ()))
    check_rows(folder, max([*vocabulary.values(), *(i for i, _, _ in added)]) + 1, vocab_tokens)
    if len(set(vocabulary.values())) < len(vocabulary) or min(vocabulary.values()) < 0:
        raise BadInput(f"{folder / 'tokenizer.json'} gives one id to several tokens; fetch the file again")
    tokens, types = filler(vocab_tokens)
    for text, i in vocabulary.items():
        tokens[i], types[i] = text, gguf.TokenType.NORMAL
    for i, text, special in added:
        tokens[i], types[i] = added_name(text, special)
    roles = special_tokens(folder, config, tokens, load_merges=True)
    if not roles.merges:
        raise BadInput(f"{folder / 'tokenizer.json'} holds no merges; fetch the file again")
    own_keys = {NFC: nfc} if nfc != (pre in NFC_NAMES) else {}
    return Vocabulary("gpt2", pre, tokens, types, roles, own_keys=own_keys)


def normalises_to_nfc(folder: Path, description: Mapping[str, Any]) -> bool:
    """Whether text is put in form NFC before it is split; raises UsageError for any other normalisation."""
    steps = [step["type"] for step in normalizer_steps(description)]
    if others := [step for step in steps if step != "NFC"]:
        raise UsageError(
            f"{folder / 'tokenizer.json'} normalises text by {others[0]}, which no GGUF of a BPE vocabulary "
            "can hold; no engine can run this checkpoint"
        )
    return bool(steps)


def pre_tokenizer_name(folder: Path, description: Mapping[str, Any]) -> str:
    """llama.cpp's name for what the tokenizer does to a text before merging; raises UsageError where it has none."""
    rule = splitting_rule(description.get("pre_tokenizer") or {})
    if rule not in RULES:
        raise UsageError(
            f"{folder / 'tokenizer.json'} splits text by a rule that llama.cpp has no name for "
            f"({' then '.join(rule)[:100] or 'none at all'} …); a GGUF of it would get other tokens than in training"
        )
    name = RULES[rule]
    return name if description["model"].get("ignore_merges") else MERGES_ONLY.get(name, name)


def splitting_rule(step: Mapping[str, Any]) -> tuple[str, ...]:
    """The regular expressions that a pre-tokenizer splits by, in turn; a step of another kind is given by its name."""
    kind = str(step.get("type"))
    if kind == "Sequence":
        return tuple(rule for part in step["pretokenizers"] for rule in splitting_rule(part))
    if kind == "ByteLevel" and not step.get("add_prefix_space", True):
        return (_GPT2,) if step.get("use_regex", True) else ()
    if kind == "Digits" and step.get("individual_digits"):
        return (_DIGIT,)
    if kind == "Split" and (step["behavior"], step["invert"]) in CUTS and "Regex" in step["pattern"]:
        # Some files write line ends as themselves, others as \r and \n.
        return (step["pattern"]["Regex"].replace("\r", r"\r").replace("\n", r"\n"),)
    return (kind,)
