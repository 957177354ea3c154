"""SentencePiece's model file as a value: pieces, scores and types, read and written without protobuf.

Field numbers are those of `sentencepiece_model.proto`. The official Python binding for that file registers
its schema process-wide and clashes with the copy inside transformers; the few fields we need are simple
enough to read and write directly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgellm.errors import BadInput
from edgellm.store.protobuf import read_varint

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # ModelProto
_PIECE, _SCORE, _TYPE = 1, 2, 3  # SentencePiece
_MODEL_TYPE, _WHITESPACE_AS_SUFFIX, _BYTE_FALLBACK = 3, 24, 35  # TrainerSpec
_NAME, _CHARSMAP, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 1, 2, 3, 4  # NormalizerSpec

Field = tuple[int, int | bytes]


@dataclass(frozen=True)
class SentencePieces:
    """A SentencePiece vocabulary. `pieces`, `scores` and `types` run in parallel, one entry an id.

    `normalizer` is the NormalizerSpec as it stands in the file, for it may hold a table of characters.
    """

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]
    unigram: bool  # otherwise BPE
    normalizer: bytes

    @property
    def adds_dummy_prefix(self) -> bool:
        return bool(dict(_fields(self.normalizer)).get(_ADD_DUMMY_PREFIX, 1))

    @property
    def charsmap(self) -> bytes:
        """The compiled table of what is normalised, such as NFKC; empty for identity."""
        value = dict(_fields(self.normalizer)).get(_CHARSMAP, b"")
        return value if isinstance(value, bytes) else b""

    @property
    def removes_extra_whitespaces(self) -> bool:
        return bool(dict(_fields(self.normalizer)).get(_REMOVE_EXTRA_WHITESPACES, 1))

    @property
    def unk_id(self) -> int:
        return self.types.index(UNKNOWN)

    def renamed(self, names: dict[int, tuple[str, int]]) -> SentencePieces:
        """The same vocabulary with other names and types at some ids; ids past the end are added, a gap
        between is filled with unused pieces."""
        size = max([len(self.pieces), *(i + 1 for i in names)])
        gap = range(len(self.pieces), size)
        pieces = [*self.pieces, *(f"<unused {i}>" for i in gap)]
        types = [*self.types, *(UNUSED for _ in gap)]
        scores = (*self.scores, *(0.0 for _ in gap))
        for i, (name, kind) in names.items():
            pieces[i], types[i] = name, kind
        return replace(self, pieces=tuple(pieces), scores=scores, types=tuple(types))


def build(
    pieces: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    unigram: bool,
    add_dummy_prefix: bool,
    charsmap: bytes = b"",
    remove_extra_whitespaces: bool = False,
) -> SentencePieces:
    """A vocabulary, with the identity normaliser unless `charsmap` holds another's table.

    Raises BadInput unless exactly one piece is UNKNOWN.
    """
    if not len(pieces) == len(scores) == len(types):
        raise BadInput(
            f"the vocabulary has {len(pieces)} pieces, {len(scores)} scores and {len(types)} types; "
            "it is damaged, so fetch or convert it again"
        )
    if list(types).count(UNKNOWN) != 1:
        raise BadInput(
            "the vocabulary does not name one piece for unknown text, so it cannot be used; convert it again"
        )
    normalizer = (
        _field(_NAME, b"user_defined" if charsmap else b"identity")
        + (_field(_CHARSMAP, charsmap) if charsmap else b"")
        + _field(_ADD_DUMMY_PREFIX, int(add_dummy_prefix))
        + _field(_REMOVE_EXTRA_WHITESPACES, int(remove_extra_whitespaces))
    )
    return SentencePieces(tuple(pieces), tuple(scores), tuple(types), unigram, normalizer)


def read(data: bytes) -> SentencePieces:
    """Parse a `tokenizer.model`; raises BadInput if it is not one, or of a kind that edgellm cannot use."""
    pieces: list[tuple[str, float, int]] = []
    parts: dict[int, bytes] = {_TRAINER: b"", _NORMALIZER: b""}
    try:
        for number, value in _fields(data):
            if number == _PIECES and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number in parts and isinstance(value, bytes):
                parts[number] = value
        trainer = dict(_fields(parts[_TRAINER]))
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise BadInput(f"this is no SentencePiece model ({error}); fetch the file again") from error
    names, scores, types = zip(*pieces, strict=True) if pieces else ((), (), ())
    if UNKNOWN not in types:
        raise BadInput("this is no SentencePiece model (it names no unknown piece); fetch the file again")
    kind = trainer.get(_MODEL_TYPE, UNIGRAM)
    if kind not in (UNIGRAM, BPE) or trainer.get(_WHITESPACE_AS_SUFFIX):
        raise BadInput("this SentencePiece model is neither Unigram nor BPE with leading spaces; give a tokenizer.json")
    return SentencePieces(names, scores, types, kind == UNIGRAM, parts[_NORMALIZER])


def write(model: SentencePieces) -> bytes:
    """The bytes that `SentencePieceProcessor(model_proto=…)` takes."""
    out = bytearray()
    for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True):
        name = piece.encode()
        entry = b"\x0a" + _varint(len(name)) + name + struct.pack("<Bf", 0x15, score) + bytes((0x18, kind))
        out += b"\x0a" + _varint(len(entry)) + entry
    trainer = _field(_MODEL_TYPE, UNIGRAM if model.unigram else BPE) + _field(_BYTE_FALLBACK, int(BYTE in model.types))
    return bytes(out) + _field(_TRAINER, trainer) + _field(_NORMALIZER, model.normalizer)


def _piece(message: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(message))
    name, score, kind = fields[_PIECE], fields.get(_SCORE, b"\0\0\0\0"), fields.get(_TYPE, NORMAL)
    if not (isinstance(name, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
        raise ValueError("a piece has fields of other kinds")
    if not NORMAL <= kind <= BYTE:
        raise ValueError(f"a piece is of the unknown kind {kind}")
    return name.decode(), struct.unpack("<f", score)[0], kind


def _fields(data: bytes) -> Iterator[Field]:
    """Fields of a protobuf message in their order: varints as int, everything else as its bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = read_varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = read_varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError("it is cut short")
        yield number, data[at : at + size]
        at += size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
