"""A vocabulary as GGUF holds it, and what all kinds of tokenizer files share: added tokens, special ids, template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf

from edgellm.errors import BadInput
from edgellm.language.special_tokens import looks_special
from edgellm.store.checkpoint import read_json

SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "mask")


@dataclass(frozen=True)
class Vocabulary:
    """The lists have one entry a token id. `model` and `pre` name the engine's algorithm.

    Byte-level BPE has no scores; its merges are in `special`.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[gguf.TokenType]
    special: gguf.SpecialVocab
    scores: list[float] | None = None
    add_space_prefix: bool | None = None  # None: the engine's default for `model`
    # What SentencePiece does to a text first. The engine reads neither for kind `llama`; whoever rebuilds the
    # tokenizer from the file does.
    charsmap: bytes = b""
    remove_extra_whitespaces: bool = False
    own_keys: Mapping[str, int] = field(default_factory=dict)  # `edgellm.…`, for what no key of GGUF says

    def write(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        if self.remove_extra_whitespaces:
            writer.add_remove_extra_whitespaces(True)
        for key, value in self.own_keys.items():
            kind = gguf.GGUFValueType.BOOL if isinstance(value, bool) else gguf.GGUFValueType.UINT32
            writer.add_key_value(key, value, kind)
        self.special.add_to_gguf(writer, quiet=True)


def check_rows(folder: Path, tokens: int, vocab_tokens: int) -> None:
    """Raise BadInput where the tokenizer has more tokens than the embedding rows; fewer are filled up."""
    if tokens > vocab_tokens:
        raise BadInput(
            f"the tokenizer files in {folder} have {tokens} tokens where vocab_size in config.json gives the embedding "
            f"{vocab_tokens} rows; give files of one and the same checkpoint"
        )


def filler(vocab_tokens: int) -> tuple[list[str], list[gguf.TokenType]]:
    """Names and types of rows of the embedding that stand for no token."""
    return [f"[PAD{i}]" for i in range(vocab_tokens)], [gguf.TokenType.UNUSED] * vocab_tokens


def tokenizer_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def normalizer_steps(description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a tokenizer.json does to a text before it splits it; DeepSeek's is a sequence of nothing."""
    normalizer = description.get("normalizer")
    return [] if normalizer is None else list(normalizer.get("normalizers", [normalizer]))


def added_tokens(
    folder: Path, config: Mapping[str, Any], described: Iterable[Mapping[str, Any]] = ()
) -> list[tuple[int, str, bool]]:
    """(id, text, whether it is special) of every token added after training; later ones win.

    `described` are the added tokens of a tokenizer.json, where that is what the vocabulary is read from.
    """
    old_file = folder / "added_tokens.json"
    try:
        old = [(int(i), str(t), False) for t, i in read_json(old_file).items()] if old_file.is_file() else []
        entries = [(t["id"], t) for t in described] + list(config.get("added_tokens_decoder", {}).items())
        new = [
            (int(i), str(t["content"]), bool(t.get("special")) or looks_special(str(t["content"]))) for i, t in entries
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"the added tokens in {folder} are not id and content; fetch the tokenizer again") from None
    return old + new


def added_name(text: str, special: bool) -> tuple[str, gguf.TokenType]:
    """Name and type of an added token.

    The engine matches tokens that users may type against plain text, where a space is a space.
    """
    if special:
        return text, gguf.TokenType.CONTROL
    return text.replace("▁", " "), gguf.TokenType.USER_DEFINED


def special_tokens(
    folder: Path, config: Mapping[str, Any], tokens: list[str], load_merges: bool = False
) -> gguf.SpecialVocab:
    """Special ids, the chat template and BPE's merges, as the official library finds them, with two gaps closed.

    It looks names up in `tokenizer.json` only, and it prefers the template of `tokenizer_config.json` to
    `chat_template.jinja`, which transformers does the other way round.
    """
    template = folder / "chat_template.jinja"
    try:
        special = gguf.SpecialVocab(
            folder, load_merges=load_merges, special_token_types=SPECIAL_KINDS, n_vocab=len(tokens)
        )
        if template.is_file():
            special.chat_template = template.read_text(encoding="utf-8")
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"the tokenizer files in {folder} are malformed ({error}); fetch them again") from error
    for kind in SPECIAL_KINDS:
        entry = config.get(f"{kind}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        if kind not in special.special_token_ids and text in tokens:
            special.special_token_ids[kind] = tokens.index(text)
    return special
