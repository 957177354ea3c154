"""The exact tokenizer of a model: the ids that it was trained on, from its own files or rebuilt from a GGUF.

llama.cpp's own tokenizer does not find them for a SentencePiece Unigram vocabulary, which is what most
Japanese models have. Text from users is *untrusted*: it never becomes the id of a special token, whatever it
spells. Only parts of a chat template are trusted (see `encode_parts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edgellm.errors import BadInput, UsageError
from edgellm.language import sentencepiece_model as spm
from edgellm.language.encoders import (
    Encoder,
    HuggingFaceEncoder,
    Prefix,
    Segment,
    SentencePieceEncoder,
    is_plain_sentencepiece,
    plain_sentencepieces,
)
from edgellm.language.special_tokens import SpecialTokens, from_folder, read_json
from edgellm.language.stream import StreamingDetokenizer


class Part(NamedTuple):
    """A stretch of a prompt; names of special tokens count only where it is trusted."""

    text: str
    trusted: bool


class Tokenizer:
    """Text to ids and back. Made by `load_tokenizer` and `tokenizer_from_pieces`; threads may share one."""

    def __init__(self, encoder: Encoder, specials: SpecialTokens) -> None:
        self._encoder = encoder
        self.specials = specials
        self.special_ids: dict[str, int] = dict(specials.ids)
        self.bos_id = specials.id_of("bos_token")
        self.eos_id = specials.id_of("eos_token")
        self.unk_id = specials.id_of("unk_token")
        self.stop_ids = specials.stop_ids
        self.vocab_tokens = len(encoder.pieces)
        self._special = frozenset(self.special_ids.values())
        self._names = specials.pattern

    @property
    def prefix(self) -> Prefix:
        """Where the vocabulary puts SentencePiece's dummy space."""
        return self._encoder.prefix

    @property
    def sentencepieces(self) -> spm.SentencePieces | None:
        """Pieces, scores and types where the vocabulary is SentencePiece's; None for byte-level BPE."""
        return self._encoder.model if isinstance(self._encoder, SentencePieceEncoder) else None

    def encode(self, text: str) -> list[int]:
        """Ids of untrusted text, without BOS or EOS and never a special token's (but for unknown characters,
        where the vocabulary has no byte pieces). Raises UsageError for a lone surrogate."""
        return self.encode_lines([text])[0]

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts at once, on all cores."""
        for text in texts:
            _check_unicode(text)
        return self._encoder.encode_lines(texts)

    def encode_parts(self, parts: Iterable[Part]) -> list[int]:
        """Ids of a prompt: special tokens' names in trusted parts become ids, those in others stay text.

        Where no untrusted part holds such a name, the ids are those of the joined text with names recognised.
        """
        segments: list[Segment] = []
        for part in parts:
            _check_unicode(part.text)
            at = 0
            for match in self._names.finditer(part.text) if part.trusted else ():
                _append(segments, part.text[at : match.start()])
                segments.append(self.special_ids[match[0]])
                at = match.end()
            _append(segments, part.text[at:])
        return self._encoder.encode_segments(segments)

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of ids. Inverse of `encode`, and with `skip_special=False` of `encode_parts`, for all text
        that the vocabulary can spell and that holds no U+2581, which SentencePiece takes for a space."""
        stream = StreamingDetokenizer(self, skip_special)
        return "".join([*map(stream.feed, ids), stream.finish()])

    def token(self, token: int) -> str:
        """The piece as the vocabulary writes it: `▁` for a space, `<0x0A>` for a byte, a special's name."""
        if not 0 <= token < self.vocab_tokens:
            raise UsageError(
                f"there is no token {token} in a vocabulary of {self.vocab_tokens}; use the model's own ids"
            )
        return self._encoder.pieces[token]

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a UTF-8 stream, the dummy space of a segment's first piece included; special
        tokens add nothing."""
        self.token(token)
        return b"" if token in self._special else self._encoder.piece_bytes(token)

    def is_special(self, token: int) -> bool:
        return token in self._special


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder or of a folder of tokenizer files alone.

    tokenizer.json is read if it is there, else tokenizer.model; names and roles of special tokens come from
    tokenizer_config.json, special_tokens_map.json and generation_config.json. Raises BadInput for damaged
    files and where there is neither.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            return _from_tokenizer_json(folder)
        if (folder / "tokenizer.model").is_file():
            return _from_tokenizer_model(folder)
    except BadInput as error:
        raise BadInput(f"the tokenizer in {folder} cannot be used: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # Valid JSON whose parts are not what they should be.
        raise BadInput(f"the tokenizer files in {folder} are malformed ({error!r}); fetch them again") from error
    raise BadInput(f"{folder} holds neither tokenizer.json nor tokenizer.model; fetch the tokenizer's files")


def _from_tokenizer_json(folder: Path) -> Tokenizer:
    description = read_json(folder / "tokenizer.json")
    if not isinstance(description.get("model"), dict):
        raise BadInput(f"{folder / 'tokenizer.json'} holds no model; fetch the file again")
    processor = description.get("post_processor") or {}
    adds_bos = any("SpecialToken" in step for step in processor.get("single", ())[:1])
    specials = from_folder(folder, description.get("added_tokens") or (), adds_bos)
    if is_plain_sentencepiece(description):
        return Tokenizer(SentencePieceEncoder(plain_sentencepieces(description, specials.ids)), specials)
    return Tokenizer(HuggingFaceEncoder(description, specials.ids), specials)


def _from_tokenizer_model(folder: Path) -> Tokenizer:
    model = spm.read((folder / "tokenizer.model").read_bytes())
    # A model file alone is a Llama tokenizer's, which adds BOS.
    specials = from_folder(folder, adds_bos=True)
    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    names = {int(i): (t["content"], spm.USER_DEFINED) for i, t in added.items()}
    names |= {i: (name, spm.CONTROL) for name, i in specials.ids.items()}
    unknown = model.unk_id
    names[unknown] = (names.get(unknown, (model.pieces[unknown], 0))[0], spm.UNKNOWN)
    model = model.renamed(names)
    return Tokenizer(SentencePieceEncoder(model), _with_controls(specials, model))


def _with_controls(specials: SpecialTokens, model: spm.SentencePieces) -> SpecialTokens:
    """Special tokens with those that the vocabulary itself marks, and SentencePiece's names for the roles."""
    kinds = enumerate(zip(model.pieces, model.types, strict=True))
    ids = {piece: i for i, (piece, kind) in kinds if kind in (spm.CONTROL, spm.UNKNOWN)}
    usual = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": model.pieces[model.unk_id]}
    roles = {role: name for role, name in usual.items() if name in ids} | dict(specials.roles)
    return replace(specials, ids=ids, roles=roles)


def tokenizer_from_pieces(
    pieces: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    bos_id: int | None = None,
    eos_id: int | None = None,
    unk_id: int = 0,
    stop_ids: Iterable[int] = (),
    add_bos: bool = True,
    add_space_prefix: bool = True,
    unigram: bool | None = None,
) -> Tokenizer:
    """The tokenizer of a SentencePiece vocabulary as a GGUF holds it (`tokenizer.ggml.model` "llama", "t5").

    `types` are SentencePiece's (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte).
    `unigram=None` decides by the scores (see `is_unigram`). User-defined pieces in Harmony's brackets `<|…|>`
    count as special, for some converters give Harmony's marks that type. Raises BadInput for a damaged one.
    """
    kinds = [_guarded(p, t) for p, t in zip(pieces, types, strict=True)]
    kinds = [spm.CONTROL if t == spm.UNKNOWN else t for t in kinds]
    if not 0 <= unk_id < len(kinds):
        raise BadInput(f"the vocabulary's unknown token is {unk_id} of {len(kinds)}; convert the model again")
    kinds[unk_id] = spm.UNKNOWN
    if unigram is None:
        unigram = is_unigram(scores, kinds)
    model = spm.build(pieces, scores, kinds, unigram=unigram, add_dummy_prefix=add_space_prefix)
    roles = {"bos_token": bos_id, "eos_token": eos_id, "unk_token": unk_id}
    named = {role: pieces[i] for role, i in roles.items() if i is not None and 0 <= i < len(pieces)}
    specials = SpecialTokens({}, named, add_bos, frozenset(stop_ids))
    return Tokenizer(SentencePieceEncoder(model), _with_controls(specials, model))


def is_unigram(scores: Sequence[float], types: Sequence[int]) -> bool:
    """Whether a SentencePiece vocabulary is Unigram (log probabilities) or BPE (merge ranks 0, −1, −2, …).

    Raises BadInput if all scores are equal, for then they say nothing.
    """
    normal = [s for s, t in zip(scores, types, strict=True) if t == spm.NORMAL]
    if len(set(normal)) < 2:
        raise BadInput("the vocabulary has no scores, so its tokens cannot be found; point to the checkpoint's folder")
    return not all(float(s).is_integer() for s in normal)


def _guarded(piece: str, kind: int) -> int:
    harmony = kind == spm.USER_DEFINED and piece.startswith("<|") and piece.endswith("|>")
    return spm.CONTROL if harmony else kind


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the text holds half a character (a lone surrogate) at {error.start}; send whole Unicode text"
        ) from None


def _append(segments: list[Segment], text: str) -> None:
    """Add text, joined to the text before it: a template's words and a user's may share a token."""
    if text and segments and isinstance(segments[-1], str):
        segments[-1] += text
    elif text:
        segments.append(text)
