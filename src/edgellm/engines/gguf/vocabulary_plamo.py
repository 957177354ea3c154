"""A GGUF's vocabulary from PLaMo's tokenizer.jsonl, of the kind that llama.cpp calls `plamo2`."""

from __future__ import annotations

from pathlib import Path

import gguf

from edgellm.engines.gguf.header import RUN_LENGTHS
from edgellm.engines.gguf.vocabulary_record import Vocabulary, check_rows, filler, special_tokens, tokenizer_config
from edgellm.language import plamo
from edgellm.language.special_tokens import from_folder
from edgellm.language.tokenizer_files import JSONL

# Under what llama.cpp takes for no score at all, so that no text becomes a row of the embedding without a token.
# Its own script gives them −1,000, with which the text "[PAD1]" does.
FILLER_SCORE = -10_000.0


def from_tokenizer_jsonl(folder: Path, vocab_tokens: int) -> Vocabulary:
    """The pieces, filled up to `vocab_tokens`; raises BadInput for damaged files and for more pieces than that.

    Scores are written rounded to what they count as, for in the float32 of a GGUF some would round to another number.
    """
    found = plamo.read_pieces(folder / JSONL)
    count = len(found.pieces)
    check_rows(folder, count, vocab_tokens)
    tokens, types = filler(vocab_tokens)
    tokens[:count], types[:count] = found.pieces, [gguf.TokenType(kind) for kind in found.types]
    scores = [FILLER_SCORE] * vocab_tokens
    scores[:count] = [plamo.in_units(score) / plamo.UNITS for score in found.scores]
    config = tokenizer_config(folder)
    special = special_tokens(folder, config, tokens)
    roles = {**plamo.ROLES, **from_folder(folder).roles, "eot": plamo.TURN}
    places = found.special_ids
    special.special_token_ids |= {
        role.removesuffix("_token"): places[name] for role, name in roles.items() if name in places
    }
    lengths = plamo.run_lengths(config)
    plamo.breaks_of(lengths)  # refuses what are no lengths
    return Vocabulary(
        model="plamo2", pre="default", tokens=tokens, types=types, special=special, scores=scores,
        add_space_prefix=False, own_keys=dict(zip(RUN_LENGTHS, lengths or (), strict=False)),
    )  # fmt: skip
