"""PLaMo's own tokenizer: the best-scoring cut of a text into pieces, with bytes for characters that no piece spells.

The definition (tokenization_plamo.py, published with the weights): scores are whole numbers, round(10,000 × score); a
character may also stand for itself at −10,000,000 and becomes its UTF-8 bytes; of all cuts the one with the largest
sum wins, and among equals the one whose first piece is longest, then whose second is, and so on.

The `tokenizers` library finds exactly that on the text read backwards: it adds in double precision, in which such
whole numbers are exact, and of equal cuts it keeps the one whose *last* piece is longest, which read backwards is the
first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import Unigram

from edgellm.errors import BadInput
from edgellm.language import sentencepiece_model as spm
from edgellm.language.encoders import Prefix, Segment

KINDS = {"UNKNOWN": spm.UNKNOWN, "CONTROL": spm.CONTROL, "BYTE": spm.BYTE}  # any other is a normal piece
ROLES = {f"{role}_token": f"<|plamo:{role}|>" for role in ("unk", "bos", "eos", "pad")}  # where no file names them
TURN = "<|plamo:op|>"  # begins the next turn of a chat, so an answer ends there
SPECIAL_NAME = re.compile(r"<\|plamo:.*\|>", re.DOTALL)
SPELLED_NAME = r"<\|plamo:[^|\s]{,64}\|>"
UNITS = 1e4  # whole numbers a score of 1
UNKNOWN_UNITS = -10_000_000
LONGEST_RUN = 1 << 16  # beyond all reason for a length that a file states


class PlamoPieces:
    """A vocabulary of the PLaMo kind; the three lists have one entry an id, `types` as SentencePiece numbers them."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float], types: Sequence[int]) -> None:
        self.pieces, self.scores = pieces, scores
        named = zip(pieces, types, strict=True)
        self.types = [spm.CONTROL if t == spm.NORMAL and SPECIAL_NAME.fullmatch(p) else t for p, t in named]

    @property
    def special_ids(self) -> dict[str, int]:
        kinds = enumerate(zip(self.pieces, self.types, strict=True))
        return {piece: i for i, (piece, kind) in kinds if kind in (spm.CONTROL, spm.UNKNOWN)}

    @property
    def normal(self) -> dict[str, tuple[int, int]]:
        """Piece → whole-number score and id, of those that text is cut into; raises BadInput for a score that none of
        PLaMo's has."""
        found = {}
        for i, (piece, score, kind) in enumerate(zip(self.pieces, self.scores, self.types, strict=True)):
            if kind == spm.NORMAL and piece and math.isfinite(score):
                found[piece] = in_units(score), i
                if in_units(score) <= UNKNOWN_UNITS:
                    raise BadInput(
                        f"the piece {piece!r} has the score {score}, and all are above −1,000; fetch it again"
                    )
        return found

    @property
    def byte_ids(self) -> dict[int, int]:
        """Byte → id; raises BadInput unless every byte has one."""
        kinds = enumerate(zip(self.pieces, self.types, strict=True))
        found = {int(piece[3:5], 16): i for i, (piece, kind) in kinds if kind == spm.BYTE}
        if len(found) < 256:
            raise BadInput(f"it has pieces for {len(found)} of 256 bytes; fetch or convert it again")
        return found


def read_pieces(path: Path) -> PlamoPieces:
    """A tokenizer.jsonl: in each line a list that begins with piece, score and kind. Raises BadInput otherwise."""
    pieces, scores, types = [], [], []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                sound = isinstance(row, list) and isinstance(row[0], str) and type(row[1]) in (int, float)
            except (ValueError, LookupError, RecursionError):
                sound = False
            if not sound:
                raise BadInput(f"line {number} of {path} is not [piece, score, kind, …]; fetch the file again")
            pieces.append(row[0])
            scores.append(float(row[1]))
            types.append(KINDS.get(str(row[2]), spm.NORMAL) if len(row) > 2 else spm.NORMAL)
    return PlamoPieces(pieces, scores, types)


def in_units(score: float) -> int:
    return round(score * UNITS)


def run_lengths(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """From which length on PLaMo 3 cuts out runs of one character and of spaces, by its tokenizer_config.json.

    0 is never; None for PLaMo 2, which cuts nothing out.
    """
    if config.get("tokenizer_class") != "Plamo3Tokenizer":
        return None
    repeats, spaces = (f"break_around_{what}_threshold" for what in ("repeated_chars", "consecutive_spaces"))
    return config.get(repeats) or 0, config.get(spaces) or 0


def breaks_of(lengths: tuple[int, int] | None) -> list[re.Pattern[str]]:
    """Stretches that are cut out of a text before anything else: names of special tokens first, then runs of these
    `run_lengths`. Raises BadInput for lengths that are none."""
    if lengths is None:
        return []
    if not all(type(length) is int and 0 <= length < LONGEST_RUN for length in lengths):
        raise BadInput(f"the runs to cut out of a text are {lengths} long, which are no lengths; fetch it again")
    repeats, spaces = lengths
    runs = [rf"(.)\1{{{repeats - 1},}}"] if repeats else []
    runs += [f" {{{spaces},}}"] if spaces else []
    return [re.compile(SPELLED_NAME), *([re.compile("|".join(runs))] if runs else [])]


class PlamoEncoder:
    """An `Encoder` in which special tokens are no pieces at all, so that no text can spell one."""

    kind = "unigram"
    prefix: Prefix = "none"
    normalizes = False

    def __init__(self, vocabulary: PlamoPieces, breaks: Sequence[re.Pattern[str]] = ()) -> None:
        """Raises BadInput for a vocabulary without pieces for all bytes, or with a score that none of PLaMo's has."""
        self.pieces = vocabulary.pieces
        self._byte_ids = vocabulary.byte_ids
        self._byte_of = {i: byte for byte, i in self._byte_ids.items()}
        normal = vocabulary.normal
        characters = "".join(sorted(set().union(*normal)))
        # A character that only stands inside longer pieces is a piece at the price of the unknown, and gives bytes.
        alone = [c for c in characters if c not in normal]
        self._ids = [[], *([i] for _, i in normal.values()), *map(self._bytes_of, alone)]
        scores = {piece: float(units) for piece, (units, _) in normal.items()} | dict.fromkeys(alone, UNKNOWN_UNITS)
        backwards = [("", 0.0), *((piece[::-1], score) for piece, score in scores.items())]  # "" is never found
        # The library's stubs give its functions no types.
        self._library: Any = Tokenizer(Unigram(backwards, unk_id=0, byte_fallback=False))  # type: ignore[no-untyped-call]
        self._breaks = breaks
        self._foreign = re.compile(f"[^{re.escape(characters)}]+") if characters else re.compile(".+", re.DOTALL)

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        stretches = [list(self._stretches(text)) for text in texts]
        backwards = [stretch[::-1] for line in stretches for stretch, spelled in line if spelled]
        found = iter(self._library.encode_batch_fast(backwards, add_special_tokens=False))
        ids: list[list[int]] = []
        for line in stretches:
            parts = (self._forwards(next(found)) if spelled else self._bytes_of(part) for part, spelled in line)
            ids.append([i for part in parts for i in part])
        return ids

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        texts = iter(self.encode_lines([s for s in segments if isinstance(s, str)]))
        return [i for s in segments for i in (next(texts) if isinstance(s, str) else (s,))]

    def piece_bytes(self, token: int) -> bytes:
        byte = self._byte_of.get(token)
        return self.pieces[token].encode() if byte is None else bytes([byte])

    def _stretches(self, text: str) -> Iterator[tuple[str, bool]]:
        """Parts of a text that no piece can span, and whether pieces can spell them."""
        parts = [text]
        for pattern in self._breaks:
            parts = [part for whole in parts for part, _ in _cut(whole, pattern)]
        return ((part, not foreign) for whole in parts for part, foreign in _cut(whole, self._foreign) if part)

    def _forwards(self, encoding: Any) -> Iterator[int]:
        return (i for place in reversed(encoding.ids) for i in self._ids[place])

    def _bytes_of(self, text: str) -> list[int]:
        return [self._byte_ids[byte] for byte in text.encode()]


def _cut(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """A text in parts, and whether each is a match."""
    at = 0
    for match in pattern.finditer(text):
        yield text[at : match.start()], False
        yield match[0], True
        at = match.end()
    yield text[at:], False
