"""Text segments to ids by the two libraries that are exact to training: sentencepiece and tokenizers.

A **segment** is either the id of a special token or ordinary text. No encoder ever gives a special id for
ordinary text: it is made so that its vocabulary does not hold the names of special tokens at all.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Protocol

import sentencepiece
import tokenizers

from edgellm.errors import BadInput
from edgellm.language import sentencepiece_model as spm

Segment = int | str
Prefix = Literal["none", "first", "segment"]  # where SentencePiece's dummy space goes: nowhere, once, every segment
# Steps of a tokenizer.json that change text and cannot be undone.
NORMALIZERS = (
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Lowercase",
    "Strip",
    "StripAccents",
    "BertNormalizer",
)
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
SPACE = "▁"  # U+2581, how SentencePiece writes a space


class Encoder(Protocol):
    """What a tokenizer needs of a library."""

    kind: str  # "unigram", "bpe", … as the library calls the algorithm
    prefix: Prefix
    normalizes: bool  # whether text is changed before it is cut into pieces (NFKC, case, runs of spaces)
    pieces: Sequence[str]  # by id, as the vocabulary writes them

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without BOS or EOS."""
        ...

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]: ...

    def piece_bytes(self, token: int) -> bytes:
        """What an ordinary piece adds to a UTF-8 stream, the dummy space included."""
        ...


class SentencePieceEncoder:
    """The SentencePiece library on a vocabulary whose special tokens are all of type CONTROL."""

    def __init__(self, model: spm.SentencePieces) -> None:
        self.model = model
        self.kind = "unigram" if model.unigram else "bpe"
        self.pieces: Sequence[str] = model.pieces
        self.prefix: Prefix = "segment" if model.adds_dummy_prefix else "none"
        self.normalizes = bool(model.charsmap) or model.removes_extra_whitespaces
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=spm.write(model))
        except RuntimeError as error:
            raise BadInput(f"sentencepiece refuses the vocabulary ({error}); fetch or convert it again") from error

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._processor.encode(list(texts))
        return ids

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        texts = iter(self.encode_lines([s for s in segments if isinstance(s, str)]))
        return [i for s in segments for i in (next(texts) if isinstance(s, str) else (s,))]

    def piece_bytes(self, token: int) -> bytes:
        piece = self.pieces[token]
        if self.model.types[token] == spm.BYTE:
            return bytes([int(piece[3:5], 16)])
        return piece.replace(SPACE, " ").encode()


class HuggingFaceEncoder:
    """The `tokenizers` library, in whose vocabulary every special token bears a name that nobody can guess.

    The library finds names of special tokens in text even with `encode_special_tokens`, where the model's own
    vocabulary lists them. Renaming leaves all else (stripping around them, dummy spaces) as it is.
    """

    def __init__(self, description: Mapping[str, Any], specials: Mapping[str, int]) -> None:
        """`description` is a parsed tokenizer.json, `specials` name → id."""
        self.kind = str(description["model"].get("type", "BPE")).lower()  # old files name no type
        secret = secrets.token_hex(16)
        self._secret_names = {i: f"{secret}x{i}x" for i in specials.values()}
        changed = _with_names(description, {name: self._secret_names[i] for name, i in specials.items()})
        try:
            text = json.dumps(changed, ensure_ascii=False)
            self._tokenizer = tokenizers.Tokenizer.from_str(text)  # type: ignore[no-untyped-call]
        except Exception as error:  # the library raises plain Exception
            raise BadInput(f"tokenizers refuses tokenizer.json ({error}); fetch the file again") from error
        shown = {secret: name for name, secret in ((n, self._secret_names[i]) for n, i in specials.items())}
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        pieces = [""] * (max(vocabulary.values(), default=-1) + 1)
        for piece, i in vocabulary.items():
            pieces[i] = shown.get(piece, piece)
        self.pieces: Sequence[str] = pieces
        self.prefix: Prefix = _prefix_of(description)
        self.normalizes = any(_holds(description.get("normalizer"), kind) for kind in NORMALIZERS)
        self._byte_level = _holds(description.get("decoder"), "ByteLevel")
        # Added tokens stand in the text as they are, even in a byte-level vocabulary.
        self._added = {int(t["id"]) for t in description.get("added_tokens", ())}

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        text = "".join(s if isinstance(s, str) else self._secret_names[s] for s in segments)
        return self.encode_lines([text])[0]

    def piece_bytes(self, token: int) -> bytes:
        piece = self.pieces[token]
        if token in self._added:
            return piece.encode()
        if self._byte_level:
            table = _byte_level_table()
            # A piece outside the byte alphabet (padding of the embedding) stands for its own text.
            return bytes(table[c] for c in piece) if table.keys() >= set(piece) else piece.encode()
        if match := BYTE_PIECE.fullmatch(piece):
            return bytes([int(match[1], 16)])
        return piece.replace(SPACE, " ").encode()


def is_plain_sentencepiece(description: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json says what SentencePiece does with its identity normaliser and a Unigram model.

    The sentencepiece library is then the exact one: `tokenizers` adds scores in double precision, so that
    it breaks some ties otherwise, and it takes the text `<0x0A>` for the byte piece of a newline.
    """
    model, normalizer = description.get("model", {}), description.get("normalizer") or {}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prefixes: list[dict[str, Any]] = [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"Regex": r"(?<!\n)^"}, "content": SPACE},
    ]
    return (
        model.get("type") == "Unigram"
        and bool(model.get("byte_fallback"))
        and description.get("pre_tokenizer") is None
        and normalizer.get("normalizers") in [[p, space] for p in prefixes]
        and all(
            t.get("special") and not (t.get("lstrip") or t.get("rstrip") or t.get("single_word"))
            for t in description.get("added_tokens", ())
        )
    )


def plain_sentencepieces(description: Mapping[str, Any], specials: Mapping[str, int]) -> spm.SentencePieces:
    """The vocabulary of a tokenizer.json for which `is_plain_sentencepiece` holds."""
    vocabulary, unk_id = description["model"]["vocab"], description["model"]["unk_id"]
    pieces = [piece for piece, _ in vocabulary]
    types = [spm.BYTE if BYTE_PIECE.fullmatch(piece) else spm.NORMAL for piece in pieces]
    types[unk_id] = spm.UNKNOWN
    built = spm.build(pieces, [s for _, s in vocabulary], types, unigram=True, add_dummy_prefix=True)
    return built.renamed(
        {i: (name, spm.CONTROL) for name, i in specials.items() if i != unk_id}
        | {i: (name, spm.UNKNOWN) for name, i in specials.items() if i == unk_id}
    )


def _with_names(description: Mapping[str, Any], new: Mapping[str, str]) -> dict[str, Any]:
    """A copy of a tokenizer.json with other names for some tokens, and without the part that adds BOS.

    The names are found before a text is normalised: what a normaliser puts before a text, it would put into them too.
    """
    model = dict(description["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {new.get(piece, piece): i for piece, i in vocabulary.items()}
    else:
        model["vocab"] = [[new.get(piece, piece), score] for piece, score in vocabulary]
    if "merges" in model:
        # A merge may be written "a b" or ["a", "b"]; one that makes a special token's name must not survive.
        pairs = [m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"]]
        model["merges"] = [m for m, pair in zip(model["merges"], pairs, strict=True) if "".join(pair) not in new]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = new.get(model["unk_token"], model["unk_token"])
    added = [
        {**t, "content": new[t["content"]], "normalized": False} if t["content"] in new else t
        for t in description.get("added_tokens", ())
    ]
    return {**description, "model": model, "added_tokens": added, "post_processor": None}


def _prefix_of(description: Mapping[str, Any]) -> Prefix:
    if _holds(description.get("normalizer"), "Prepend"):
        return "segment"
    metaspace = _find(description.get("pre_tokenizer"), "Metaspace")
    schemes: dict[str, Prefix] = {"always": "segment", "first": "first", "never": "none"}
    return schemes[metaspace.get("prepend_scheme", "always")] if metaspace else "none"


def _holds(part: Mapping[str, Any] | None, kind: str) -> bool:
    return _find(part, kind) is not None


def _find(part: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """The step of this type in a normaliser, pre-tokenizer or decoder, itself or inside a Sequence."""
    if part is None or part.get("type") == kind:
        return part
    steps = [s for key in ("normalizers", "pretokenizers", "decoders") for s in part.get(key, ())]
    return next((found for s in steps if (found := _find(s, kind))), None)


@cache
def _byte_level_table() -> dict[str, int]:
    """Character → byte of GPT-2's byte-level vocabularies: printable Latin-1 stands for itself, the other
    bytes in ascending order for U+0100 onwards."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in own]
    return {chr(b): b for b in own} | {chr(0x100 + n): b for n, b in enumerate(others)}
