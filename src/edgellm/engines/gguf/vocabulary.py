"""A checkpoint's vocabulary as GGUF holds it: pieces, scores, kinds of tokens, special ids, chat template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from edgellm.errors import BadInput, UsageError
from edgellm.language import sentencepiece_model
from edgellm.store.checkpoint import read_json

ADDED_SCORE = -1000.0  # what llama.cpp's converter gives to tokens added after training
FILLER_SCORE = -10000.0  # and to rows of the embedding that stand for no token
# The numbers are SentencePiece's own; its user-defined pieces are normal ones to llama.cpp's converter.
PIECE_TYPES = {n: gguf.TokenType(n) for n in range(1, 7)} | {sentencepiece_model.USER_DEFINED: gguf.TokenType.NORMAL}
SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "mask")


@dataclass(frozen=True)
class Vocabulary:
    """The three lists have one entry a token id. `model` and `pre` name the engine's algorithm."""

    model: str
    pre: str
    tokens: list[str]
    scores: list[float]
    types: list[gguf.TokenType]
    special: gguf.SpecialVocab
    add_space_prefix: bool | None  # None: the engine's default for `model`

    def write(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        self.special.add_to_gguf(writer, quiet=True)


def read_vocabulary(folder: Path, vocab_tokens: int) -> Vocabulary:
    """The vocabulary of a checkpoint folder, filled up to the `vocab_tokens` rows of its embedding.

    Raises BadInput if files are missing or contradict each other, UsageError for a kind of tokenizer that
    edgellm cannot write yet.
    """
    if (folder / "tokenizer.model").is_file():
        vocabulary = sentencepiece_vocabulary(folder, vocab_tokens)
    elif (folder / "tokenizer.json").is_file():
        kind = read_json(folder / "tokenizer.json").get("model", {}).get("type")
        raise UsageError(
            f"{folder} has no tokenizer.model, and a tokenizer.json of kind {kind} cannot be converted yet; "
            "give a checkpoint with a SentencePiece vocabulary"
        )
    else:
        raise BadInput(f"{folder} holds no tokenizer.model; add the tokenizer files of the checkpoint")
    repeated = [text for text, count in Counter(vocabulary.tokens).items() if count > 1]
    if repeated:  # llama.cpp aborts the process when it loads such a file
        raise BadInput(f"the tokenizer files in {folder} give several ids to {repeated[0]!r}; fetch all of them again")
    return vocabulary


def sentencepiece_vocabulary(folder: Path, vocab_tokens: int) -> Vocabulary:
    """Pieces of `tokenizer.model`, over which the names of `added_tokens_decoder` win."""
    tokens = [f"[PAD{i}]" for i in range(vocab_tokens)]
    scores, types = [FILLER_SCORE] * vocab_tokens, [gguf.TokenType.UNUSED] * vocab_tokens
    model = read_sentencepiece(folder / "tokenizer.model")
    count = min(len(model.pieces), vocab_tokens)
    tokens[:count], scores[:count] = model.pieces[:count], model.scores[:count]
    types[:count] = [PIECE_TYPES[kind] for kind in model.types[:count]]
    config = tokenizer_config(folder)
    for i, text, special in added_tokens(folder, config):
        if i < vocab_tokens:
            # The engine matches tokens that users may type against plain text, where a space is a space.
            tokens[i] = text if special else text.replace("▁", " ")
            types[i] = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
            scores[i] = ADDED_SCORE
    stated = config.get("add_prefix_space")
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=tokens,
        scores=scores,
        types=types,
        special=special_tokens(folder, config, tokens),
        add_space_prefix=stated if isinstance(stated, bool) else None if model.adds_dummy_prefix else False,
    )


def read_sentencepiece(path: Path) -> sentencepiece_model.SentencePieces:
    try:
        return sentencepiece_model.read(path.read_bytes())
    except BadInput as error:
        raise BadInput(f"{path} cannot be used: {error}") from None


def tokenizer_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def added_tokens(folder: Path, config: Mapping[str, Any]) -> list[tuple[int, str, bool]]:
    """(id, text, whether it is special) of every token added after training; later ones win."""
    old_file = folder / "added_tokens.json"
    try:
        old = [(int(i), str(t), False) for t, i in read_json(old_file).items()] if old_file.is_file() else []
        new = [
            (int(i), str(t["content"]), bool(t.get("special")) or looks_special(str(t["content"])))
            for i, t in config.get("added_tokens_decoder", {}).items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"the added tokens in {folder} are not id and content; fetch the tokenizer again") from None
    return old + new


def looks_special(text: str) -> bool:
    """Whether a token not marked special is one by its form, as llama.cpp's converter has it."""
    ends = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))
    return text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        text.startswith(first) and text.endswith(last) for first, last in ends
    )


def special_tokens(folder: Path, config: Mapping[str, Any], tokens: list[str]) -> gguf.SpecialVocab:
    """Special ids and the chat template, as the official library finds them, with two gaps closed.

    It looks names up in `tokenizer.json` only, and it prefers the template of `tokenizer_config.json` to
    `chat_template.jinja`, which transformers does the other way round.
    """
    template = folder / "chat_template.jinja"
    try:
        special = gguf.SpecialVocab(folder, special_token_types=SPECIAL_KINDS, n_vocab=len(tokens))
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
