"""Which feeds of a step share one `llama_decode`, and how it was found out that company changes nothing.

llama.cpp computes the same product with different kernels for one, a few and many columns, and they add up in
different orders. So the logits of a sequence may depend, in their last bits, on what else is decoded with it, and
a greedy answer then depends on who else is being served. Where nothing but the number of columns stands in the
way, grouping the feeds cures it (`by_kind`); the measurements are in docs/design/engines.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from edgellm.engines.protocol import Feed, Logits

if TYPE_CHECKING:
    from edgellm.engines.gguf.runtime import GgufRuntime

Grouping = Callable[[Sequence[Feed]], list[list[int]]]  # a step's feeds → the places of those that run together
WIDEST_BRIDGE = 2
# A prompt is tried whole and in these pieces: wider than BLAS libraries begin at, and no multiples of the 4 columns
# that kernels for repacked weights take at once.
PROBE_PIECES = (3, 35, 10)
PROBE_TOKENS = sum(PROBE_PIECES)
PROBE_WIDTHS = (2, 3, 5, 8)
PROBE_SINGLES = 8


def together(feeds: Sequence[Feed]) -> list[list[int]]:
    """Single tokens in one decode, longer feeds in another: llama.cpp would cut a mixture of them into more parts."""
    singles, longer = _kinds(feeds)
    return [group for group in (singles, longer) if group]


def one_by_one(feeds: Sequence[Feed]) -> list[list[int]]:
    """For models whose sequences llama.cpp mixes up."""
    return [[place] for place in range(len(feeds))]


def by_kind(feeds: Sequence[Feed]) -> list[list[int]]:
    """Single tokens together, longer feeds each alone.

    llama.cpp cuts a decode into parts in which every sequence has as many tokens: a prompt beside an answer would
    be cut after its first token, and attention over one token adds up otherwise than over several.
    """
    singles, longer = _kinds(feeds)
    return [*([singles] if singles else []), *([place] for place in longer)]


def _kinds(feeds: Sequence[Feed]) -> tuple[list[int], list[int]]:
    """The places of single tokens and of longer feeds, each in the order of their sequences.

    llama.cpp computes sequences at once only where their numbers follow one another in the batch.
    """
    places = sorted(range(len(feeds)), key=lambda place: feeds[place].sequence)
    singles = [place for place in places if len(feeds[place].ids) == 1]
    return singles, [place for place in places if len(feeds[place].ids) > 1]


def bridges(feeding: Sequence[int]) -> list[int]:
    """The sequences between those `feeding` a token, in ascending order, where the gap is narrow.

    llama.cpp computes 0 and 2 one after the other, but 0, 1 and 2 at once, and a pass over all weights costs more
    than a token or two that nobody needs.
    """
    gaps = [range(low + 1, high) for low, high in pairwise(feeding) if high - low - 1 <= WIDEST_BRIDGE]
    return [sequence for gap in gaps for sequence in gap]


def companions(feeding: Sequence[int], sequences: int) -> list[int]:
    """A neighbour for each of the sequences that would be computed alone; `sequences` are held in all."""
    fed, added = set(feeding), []
    for sequence in feeding:
        if not fed & {sequence - 1, sequence + 1}:
            added.append(sequence + 1 if sequence + 1 < sequences else sequence - 1)
            fed.add(added[-1])
    return added


def lone_differs(runtime: GgufRuntime, adapter: str | None = None) -> bool:
    """Whether a token gets other logits alone than beside one token of another sequence.

    It does where weights are floats: llama.cpp multiplies one column with another kernel than two or more.
    """
    return not _same(_single(runtime, 1, adapter), _single(runtime, 2, adapter))


def company_is_harmless(runtime: GgufRuntime, adapter: str | None = None) -> bool:
    """Whether a prompt gives the same bits whole and in pieces, and so does a token at several widths of a decode.

    A probe, no proof: it tries what is known to matter. The runtime must hold PROBE_TOKENS and two sequences.
    """
    if not _same(_prompt(runtime, [PROBE_TOKENS], adapter), _prompt(runtime, PROBE_PIECES, adapter)):
        return False
    pair = _single(runtime, 2, adapter)
    widths = {min(width, runtime.info.sequences) for width in (*PROBE_WIDTHS, runtime.info.sequences)}
    return all(_same(pair, _single(runtime, width, adapter)) for width in sorted(widths))


def answers_are_as_prompts(runtime: GgufRuntime, adapter: str | None = None) -> bool:
    """Whether tokens that were fed one by one leave the same bits behind as a prompt that was fed whole."""
    pieces = [PROBE_TOKENS - PROBE_SINGLES, *[1] * PROBE_SINGLES]
    return _same(_prompt(runtime, [PROBE_TOKENS], adapter), _prompt(runtime, pieces, adapter))


def _same(one: Logits, other: Logits) -> bool:
    return bool(np.array_equal(one, other))


def _single(runtime: GgufRuntime, sequences: int, adapter: str | None) -> Logits:
    """Logits of one token that each of the first `sequences` sequences takes; NaN where they do not agree."""
    token = runtime.info.vocab_tokens // 2
    rows = [row.copy() for row in runtime.step([Feed(s, [token], adapter=adapter) for s in range(sequences)])]
    for sequence in range(sequences):
        runtime.keep(sequence, 0)
    return rows[0] if all(_same(rows[0], row) for row in rows) else rows[0] * np.nan


def _prompt(runtime: GgufRuntime, pieces: Sequence[int], adapter: str | None) -> Logits:
    """Logits of a whole prompt that is fed in pieces of these lengths."""
    ids = [(i * 7919) % runtime.info.vocab_tokens for i in range(1, sum(pieces) + 1)]
    rows, start = [], 0
    for length in pieces:
        rows.append(runtime.step([Feed(0, ids[start : start + length], "all", adapter)])[0].copy())
        start += length
    runtime.keep(0, 0)
    return np.concatenate(rows)
