"""The exact tokenizer of a model: the ids that it was trained on, from its own files or rebuilt from a GGUF.

llama.cpp's own tokenizer does not find them for a SentencePiece Unigram vocabulary, which is what most
Japanese models have. Text from users is *untrusted*: it never becomes the id of a special token, whatever it
spells. Only parts of a chat template are trusted (see `encode_parts`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from edgellm.errors import BadInput, UsageError
from edgellm.language import plamo
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
from edgellm.language.special_tokens import SpecialTokens, from_folder, looks_special, read_json
from edgellm.language.stream import StreamingDetokenizer
from edgellm.language.tokenizer_files import JSON, JSONL, MODEL, tokenizer_file


class Part(NamedTuple):
    """A stretch of a prompt; names of special tokens count only where it is trusted."""

    text: str
    trusted: bool


class Origin(NamedTuple):
    """Where a tokenizer comes from, and why this one is used: for people who ask `edgellm show`."""

    source: str
    reason: str


UNIGRAM = Origin("gguf", "rebuilt: its scores are log probabilities (Unigram), which the engine's merging ignores")
BPE = Origin("gguf", "rebuilt: its scores are merge ranks (SentencePiece BPE), so this is the engine's own merging")


class Tokenizer:
    """Text to ids and back. Made by `load_tokenizer`, `tokenizer_from_pieces` and, for what stands in a file
    of an engine alone, by that engine; threads may share one."""

    def __init__(self, encoder: Encoder, specials: SpecialTokens, origin: Origin) -> None:
        self._encoder = encoder
        self.specials = specials
        self.origin = origin
        self.kind = encoder.kind
        self.special_ids: dict[str, int] = dict(specials.ids)
        self.bos_id = specials.id_of("bos_token")
        self.eos_id = specials.id_of("eos_token")
        self.unk_id = specials.id_of("unk_token")
        self.stop_ids = specials.stop_ids
        self.vocab_tokens = len(encoder.pieces)
        self.normalizes = encoder.normalizes  # whether text is changed before it is cut into pieces
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

    tokenizer.jsonl (PLaMo) is read if it is there, else tokenizer.json, else tokenizer.model; names and roles of
    special tokens come from tokenizer_config.json, special_tokens_map.json and generation_config.json. Raises BadInput
    for damaged files and where there is none of them.
    """
    name = tokenizer_file(folder)
    if name is None:
        raise BadInput(f"{folder} holds no {JSON}, {MODEL} or {JSONL}; fetch the tokenizer's files")
    try:
        return LOADERS[name](folder)
    except BadInput as error:
        raise BadInput(f"the tokenizer in {folder} cannot be used: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # Valid JSON whose parts are not what they should be.
        raise BadInput(f"the tokenizer files in {folder} are malformed ({error!r}); fetch them again") from error


def _from_tokenizer_json(folder: Path) -> Tokenizer:
    description = read_json(folder / JSON)
    if not isinstance(description.get("model"), dict):
        raise BadInput(f"{folder / JSON} holds no model; fetch the file again")
    adds_bos = _begins_specially(description.get("post_processor") or {})
    specials = from_folder(folder, description.get("added_tokens") or (), adds_bos)
    if is_plain_sentencepiece(description):
        encoder = SentencePieceEncoder(plain_sentencepieces(description, specials.ids))
        return Tokenizer(encoder, specials, Origin(JSON, "sentencepiece breaks ties as training did"))
    origin = Origin(JSON, "the library tokenizers runs the whole file, normaliser and all")
    return Tokenizer(HuggingFaceEncoder(description, specials.ids), specials, origin)


def _begins_specially(processor: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json's last step puts a special token before a text; Llama 3's is the second of two."""
    steps = processor.get("processors", [processor])
    return any("SpecialToken" in part for step in steps for part in step.get("single", ())[:1])


def _from_tokenizer_model(folder: Path) -> Tokenizer:
    model = spm.read((folder / MODEL).read_bytes())
    # A model file alone is a Llama tokenizer's, which adds BOS.
    specials = from_folder(folder, adds_bos=True)
    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    kinds = enumerate(zip(model.pieces, model.types, strict=True))
    names = {i: (piece, spm.CONTROL) for i, (piece, kind) in kinds if poses_as_text(piece, kind)}
    names |= {int(i): (t["content"], spm.USER_DEFINED) for i, t in added.items()}
    names |= {i: (name, spm.CONTROL) for name, i in specials.ids.items()}
    unknown = model.unk_id
    names[unknown] = (names.get(unknown, (model.pieces[unknown], 0))[0], spm.UNKNOWN)
    model = model.renamed(names)
    origin = Origin(MODEL, "sentencepiece runs the file that it trained")
    return Tokenizer(SentencePieceEncoder(model), _with_controls(specials, model), origin)


def _from_tokenizer_jsonl(folder: Path) -> Tokenizer:
    breaks = plamo.breaks_of(plamo.run_lengths(read_json(folder / "tokenizer_config.json")))
    origin = Origin(JSONL, "PLaMo's own search for the best-scoring cut")
    return tokenizer_from_plamo_pieces(plamo.read_pieces(folder / JSONL), from_folder(folder), origin, breaks)


LOADERS: Mapping[str, Callable[[Path], Tokenizer]] = {
    JSONL: _from_tokenizer_jsonl,
    JSON: _from_tokenizer_json,
    MODEL: _from_tokenizer_model,
}


def tokenizer_from_plamo_pieces(
    vocabulary: plamo.PlamoPieces, stated: SpecialTokens, origin: Origin, breaks: Sequence[re.Pattern[str]] = ()
) -> Tokenizer:
    """The tokenizer of a vocabulary of the PLaMo kind, which itself says what is special; `stated` has the roles.

    Raises BadInput for a damaged one.
    """
    ids = vocabulary.special_ids
    roles = {role: name for role, name in plamo.ROLES.items() if name in ids} | dict(stated.roles)
    stops = stated.more_stop_ids | {i for name, i in ids.items() if name == plamo.TURN}
    return Tokenizer(
        plamo.PlamoEncoder(vocabulary, breaks), replace(stated, ids=ids, roles=roles, more_stop_ids=stops), origin
    )


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
    charsmap: bytes = b"",
    remove_extra_whitespaces: bool = False,
) -> Tokenizer:
    """The tokenizer of a SentencePiece vocabulary as a GGUF holds it (`tokenizer.ggml.model` "llama", "t5").

    `types` are SentencePiece's (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte).
    `unigram=None` decides by the scores (see `is_unigram`). User-defined pieces that look special (`<|…|>`)
    count so, for some converters give Harmony's marks that type. `charsmap` is SentencePiece's compiled table of
    what it normalises, empty for identity. Raises BadInput for a damaged one.
    """
    kinds = [spm.CONTROL if poses_as_text(p, t) else t for p, t in zip(pieces, types, strict=True)]
    kinds = [spm.CONTROL if t == spm.UNKNOWN else t for t in kinds]
    if not 0 <= unk_id < len(kinds):
        raise BadInput(f"the vocabulary's unknown token is {unk_id} of {len(kinds)}; convert the model again")
    kinds[unk_id] = spm.UNKNOWN
    if unigram is None:
        unigram = is_unigram(scores, kinds)
    model = spm.build(
        pieces, scores, kinds, unigram=unigram, add_dummy_prefix=add_space_prefix, charsmap=charsmap,
        remove_extra_whitespaces=remove_extra_whitespaces,
    )  # fmt: skip
    roles = {"bos_token": bos_id, "eos_token": eos_id, "unk_token": unk_id}
    named = {role: pieces[i] for role, i in roles.items() if i is not None and 0 <= i < len(pieces)}
    specials = SpecialTokens({}, named, add_bos, frozenset(stop_ids))
    return Tokenizer(SentencePieceEncoder(model), _with_controls(specials, model), UNIGRAM if unigram else BPE)


def is_unigram(scores: Sequence[float], types: Sequence[int]) -> bool:
    """Whether a SentencePiece vocabulary is Unigram (log probabilities) or BPE (merge ranks 0, −1, −2, …).

    Raises BadInput if all scores are equal, for then they say nothing.
    """
    normal = [s for s, t in zip(scores, types, strict=True) if t == spm.NORMAL]
    if len(set(normal)) < 2:
        raise BadInput("the vocabulary has no scores, so its tokens cannot be found; point to the checkpoint's folder")
    return not all(float(s).is_integer() for s in normal)


def poses_as_text(piece: str, kind: int) -> bool:
    """Whether a piece that users may type by its type is a special token by its name, such as `<|start|>`."""
    return kind == spm.USER_DEFINED and looks_special(piece)


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
