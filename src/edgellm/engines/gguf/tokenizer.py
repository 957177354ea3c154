"""The tokenizer of a GGUF that has no tokenizer files beside it.

A vocabulary of kind `llama` is rebuilt: it states all that SentencePiece needs, and the engine's own merging is
wrong where the scores are log probabilities. So is one of kind `plamo2`, where the engine takes names of special
tokens out of plain text. The other kinds name an algorithm of the engine (a pre-tokenizer, a table of characters)
that the file does not hold, so there the engine encodes.
"""

from __future__ import annotations

import unicodedata
import weakref
from collections.abc import Sequence
from itertools import pairwise

import gguf

from edgellm.engines.gguf.header import Header
from edgellm.engines.gguf.soundness import check_metadata
from edgellm.engines.gguf.vocabulary_only import EngineVocabulary
from edgellm.errors import BadInput
from edgellm.language.encoders import Prefix, Segment
from edgellm.language.plamo import PlamoPieces, breaks_of
from edgellm.language.special_tokens import SpecialTokens
from edgellm.language.tokenizer import (
    Origin,
    Tokenizer,
    poses_as_text,
    tokenizer_from_pieces,
    tokenizer_from_plamo_pieces,
)

SPECIAL_TYPES = (gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN)
PLAMO = "rebuilt: PLaMo's own search for the best-scoring cut, where no text spells a special token"
RUNS_UNKNOWN = (
    "the file does not say how long a run of a character or of spaces PLaMo 3 cuts out first, so tokens around such "
    "runs may differ from those of training"
)


def tokenizer_of(header: Header) -> Tokenizer:
    """The exact tokenizer of a GGUF. What the engine encodes loads the vocabulary, and never the weights.

    Raises UsageError for a file that holds no model or no vocabulary, BadInput for a damaged one, EngineFailed
    or UnknownFamily where llama.cpp refuses it.
    """
    check_metadata(header)
    try:
        types = token_types(header)
        return MAKERS.get(header.tokenizer_model, engine_tokenizer)(header, types)
    except BadInput as error:
        raise BadInput(f"the vocabulary in {header.path} cannot be used: {error}") from error


def token_types(header: Header) -> list[int]:
    """The type of every token. Raises BadInput for lists of different lengths, which llama.cpp would read past
    their ends."""
    types = header.token_types or [int(gguf.TokenType.NORMAL)] * len(header.tokens)
    if not len(types) == len(header.scores or types) == len(header.tokens):
        raise BadInput("its lists differ in length; convert the model again")
    if odd := set(types) - set(gguf.TokenType):
        raise BadInput(f"it has a token of the unknown kind {min(odd)}; convert the model again")
    return types


def rebuilt(header: Header, types: Sequence[int]) -> Tokenizer:
    """The tokenizer of a vocabulary of kind `llama`; raises BadInput where its ids or scores make no sense."""
    ids = header.special_ids
    if beyond := [role for role in ("bos", "eos", "eot", "eom", "unk") if ids.get(role, 0) >= len(types)]:
        raise BadInput(
            f"its {beyond[0]} token has the id {ids[beyond[0]]} of only {len(types)} tokens; convert the model again"
        )
    return tokenizer_from_pieces(
        header.tokens,
        header.scores or [0.0] * len(header.tokens),
        types,
        bos_id=ids.get("bos", 1),  # llama.cpp's defaults for this kind
        eos_id=ids.get("eos", 2),
        unk_id=ids.get("unk", 0),
        stop_ids=[ids[role] for role in ("eot", "eom") if role in ids],
        add_bos=header.add_bos,
        add_space_prefix=header.add_space_prefix,
        charsmap=header.charsmap,
        remove_extra_whitespaces=header.removes_extra_whitespaces,
    )


def rebuilt_plamo(header: Header, types: Sequence[int]) -> Tokenizer:
    """The tokenizer of a vocabulary of kind `plamo2`; raises BadInput for one without scores or bytes."""
    if not header.scores:
        raise BadInput("it has no scores; convert the model again")
    ids = header.special_ids
    roles = {f"{role}_token": header.tokens[i] for role, i in ids.items() if i < len(types)}
    stops = frozenset(ids[role] for role in ("eot", "eom") if role in ids)
    reason, lengths = PLAMO, header.run_lengths
    if header.architecture == "plamo3" and lengths is None:
        reason, lengths = f"{PLAMO}; {RUNS_UNKNOWN}", (0, 0)
    return tokenizer_from_plamo_pieces(
        PlamoPieces(header.tokens, header.scores, types),
        SpecialTokens({}, roles, header.add_bos, stops),
        Origin("gguf", reason),
        breaks_of(lengths),
    )


def engine_tokenizer(header: Header, types: Sequence[int]) -> Tokenizer:
    """The engine's own tokenizer, for kinds of vocabularies that only it can read."""
    vocabulary = EngineVocabulary(header.path)
    specials = special_tokens(header, types, vocabulary)
    reason = f"a vocabulary of kind {header.tokenizer_model} names one of llama.cpp's own algorithms, so it encodes"
    reason += ", after text is put in form NFC as in training" if header.normalises_to_nfc else ""
    return Tokenizer(EngineEncoder(header, types, vocabulary, specials), specials, Origin("engine", reason))


def special_tokens(header: Header, types: Sequence[int], vocabulary: EngineVocabulary) -> SpecialTokens:
    """Special by type, by a name in brackets or by a role."""
    # Only stated roles count: llama.cpp's default for BOS and EOS of a byte-level vocabulary is GPT-2's own id.
    stated = {role: i for role, i in header.special_ids.items() if i < len(types)}
    special = set(stated.values())
    special |= {
        i
        for i, (piece, kind) in enumerate(zip(header.tokens, types, strict=True))
        if kind in SPECIAL_TYPES or poses_as_text(piece, kind)
    }
    return SpecialTokens(
        ids={header.tokens[i]: i for i in sorted(special)},
        roles={f"{role}_token": header.tokens[i] for role, i in stated.items()},
        adds_bos=vocabulary.adds_bos,
        more_stop_ids=frozenset(i for i in special if vocabulary.ends_answers(i)),
    )


MAKERS = {"llama": rebuilt, "plamo2": rebuilt_plamo}


class EngineEncoder:
    """An `Encoder` over llama.cpp's own tokenizer, which takes some names of special tokens out of plain text."""

    def __init__(
        self, header: Header, types: Sequence[int], vocabulary: EngineVocabulary, specials: SpecialTokens
    ) -> None:
        self.kind = header.tokenizer_model
        self.pieces: Sequence[str] = header.tokens
        self._vocabulary = vocabulary
        self._nfc = header.normalises_to_nfc
        self.normalizes = self._nfc or self.kind in ("bert", "t5")
        self._names = specials.pattern
        # An unknown token may stand for characters that no piece can spell.
        unknown = {i for i, kind in enumerate(types) if kind == gguf.TokenType.UNKNOWN}
        self._forbidden = frozenset(specials.ids.values()) - unknown - {specials.id_of("unk_token")}
        # Every word of a WordPiece vocabulary (bert) begins with a space.
        self.prefix: Prefix = "segment" if header.add_space_prefix or self.kind == "bert" else "none"
        weakref.finalize(self, vocabulary.close).atexit = False

    def encode_lines(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._guarded(unicodedata.normalize("NFC", text) if self._nfc else text) for text in texts]

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        texts = iter(self.encode_lines([s for s in segments if isinstance(s, str)]))
        return [i for s in segments for i in (next(texts) if isinstance(s, str) else (s,))]

    def piece_bytes(self, token: int) -> bytes:
        return self._vocabulary.piece_bytes(token)

    def _guarded(self, text: str) -> list[int]:
        """Ids of a text, cut inside each name of a special token if one of these comes out. A name that the
        engine finds but the text does not show (after folding of case, say) is met by halving the text."""
        ids = self._vocabulary.encode(text)
        if self._forbidden.isdisjoint(ids):
            return ids
        if len(text) == 1:
            return [i for i in ids if i not in self._forbidden]
        names = [m for m in self._names.finditer(text) if len(m[0]) > 1]
        cuts = [m.start() + 1 for m in names] or [len(text) // 2]
        pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        return [i for piece in pieces for i in self._guarded(piece)]
