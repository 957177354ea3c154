"""SentencePiece vocabularies, from tokenizer.model or from a tokenizer.json alone, as GGUF's kind `llama`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf

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
from edgellm.language import sentencepiece_model as spm
from edgellm.language.encoders import BYTE_PIECE, SPACE, is_plain_sentencepiece
from edgellm.language.tokenizer import poses_as_text
from edgellm.language.tokenizer_files import MODEL

ADDED_SCORE = -1000.0  # what llama.cpp's converter gives to tokens added after training
FILLER_SCORE = -10000.0  # and to rows of the embedding that stand for no token
# The numbers are SentencePiece's own; its user-defined pieces are normal ones to llama.cpp's converter.
PIECE_TYPES = {n: gguf.TokenType(n) for n in range(1, 7)} | {spm.USER_DEFINED: gguf.TokenType.NORMAL}


def from_tokenizer_model(folder: Path, vocab_tokens: int) -> Vocabulary:
    """Pieces of `tokenizer.model`, over which the names of `added_tokens_decoder` win."""
    path = folder / MODEL
    try:
        model = spm.read(path.read_bytes())
    except BadInput as error:
        raise BadInput(f"{path} cannot be used: {error}") from None
    types = [spm.CONTROL if poses_as_text(p, t) else t for p, t in zip(model.pieces, model.types, strict=True)]
    vocabulary = _vocabulary(folder, vocab_tokens, model.pieces, model.scores, types, (), model.adds_dummy_prefix)
    return replace(vocabulary, charsmap=model.charsmap, remove_extra_whitespaces=model.removes_extra_whitespaces)


def from_unigram_json(folder: Path, description: Mapping[str, Any], vocab_tokens: int) -> Vocabulary:
    """Pieces and log probabilities of a tokenizer.json of kind Unigram.

    Raises UsageError for one that does more to a text than SentencePiece's identity normaliser, since a GGUF of kind
    `llama` cannot say so.
    """
    if not is_plain_sentencepiece(description):
        raise UsageError(
            f"{folder / 'tokenizer.json'} normalises or splits text in a way that no GGUF can hold; add the "
            "tokenizer.model of the checkpoint"
        )
    entries = description["model"]["vocab"]
    pieces, scores = [str(piece) for piece, _ in entries], [float(score) for _, score in entries]
    types = [_type_by_name(piece) for piece in pieces]
    types[description["model"]["unk_id"]] = spm.UNKNOWN
    return _vocabulary(folder, vocab_tokens, pieces, scores, types, description.get("added_tokens", ()), True)


def from_bpe_json(folder: Path, description: Mapping[str, Any], vocab_tokens: int) -> Vocabulary:
    """Pieces and merge ranks of a tokenizer.json of kind BPE with byte fallback, which was SentencePiece's once.

    The engine joins the two neighbours whose whole has the highest score, so a piece's score is −1 times the rank of
    the first merge that makes it. llama.cpp's own script gives all of them −1000, which leaves the order to chance.
    Raises UsageError for one that does more to a text than to write its spaces as SentencePiece does.
    """
    if not _only_writes_spaces(description):
        raise UsageError(
            f"{folder / 'tokenizer.json'} normalises or splits text in a way that no GGUF can hold; add the "
            "tokenizer.model of the checkpoint"
        )
    vocabulary, merges = description["model"]["vocab"], description["model"]["merges"]
    wholes = ["".join(merge.split(" ", 1) if isinstance(merge, str) else merge) for merge in merges]
    ranks: dict[str, int] = {}
    for rank, whole in enumerate(wholes):
        ranks.setdefault(whole, rank)
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[piece] for piece in pieces] != list(range(len(pieces))):
        raise BadInput(f"the ids in {folder / 'tokenizer.json'} have gaps or repeat; fetch the file again")
    types = [_type_by_name(piece) for piece in pieces]
    types[vocabulary[description["model"]["unk_token"]]] = spm.UNKNOWN
    scores = [-float(ranks.get(piece, len(merges))) for piece in pieces]
    added = description.get("added_tokens", ())
    return _vocabulary(folder, vocab_tokens, pieces, scores, types, added, _prepends_space(description))


def _type_by_name(piece: str) -> int:
    return spm.BYTE if BYTE_PIECE.fullmatch(piece) else spm.NORMAL


def _only_writes_spaces(description: Mapping[str, Any]) -> bool:
    """Whether a BPE's text is merged as a whole, with U+2581 for its spaces and perhaps one before it."""
    writes = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    steps, splitter = normalizer_steps(description), description.get("pre_tokenizer")
    plain = all(step in ({"type": "Prepend", "prepend": SPACE}, writes) for step in steps)
    if splitter is None:
        return plain and writes in steps
    # A cut at each space changes nothing where no piece goes on over one.
    goes_over = any(SPACE in piece[1:] for piece in description["model"]["vocab"])
    return plain and splitter["type"] == "Metaspace" and not (splitter.get("split", True) and goes_over)


def _prepends_space(description: Mapping[str, Any]) -> bool:
    metaspace = description.get("pre_tokenizer") or {}
    return any(step["type"] == "Prepend" for step in normalizer_steps(description)) or (
        metaspace.get("type") == "Metaspace" and metaspace.get("prepend_scheme", "always") != "never"
    )


def _vocabulary(
    folder: Path,
    vocab_tokens: int,
    pieces: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    described: Sequence[Mapping[str, Any]],
    adds_dummy_prefix: bool,
) -> Vocabulary:
    config = tokenizer_config(folder)
    added = added_tokens(folder, config, described)
    check_rows(folder, max([len(pieces), *(i + 1 for i, _, _ in added)]), vocab_tokens)
    fillers = vocab_tokens - len(pieces)
    names, kinds = filler(vocab_tokens)
    names[: len(pieces)], kinds[: len(pieces)] = pieces, [PIECE_TYPES[kind] for kind in types]
    all_scores = [*scores, *[FILLER_SCORE] * fillers]
    for i, text, special in added:
        names[i], kinds[i] = added_name(text, special)
        all_scores[i] = ADDED_SCORE
    stated = config.get("add_prefix_space")
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=names,
        types=kinds,
        special=special_tokens(folder, config, names),
        scores=all_scores,
        add_space_prefix=stated if isinstance(stated, bool) else None if adds_dummy_prefix else False,
    )
