"""Loops: text that says the same again and again."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

LONGEST_PERIOD = 300  # characters of what is repeated
WORDS = re.compile(r"[0-9A-Za-z\u3041-\u309f\u30a1-\u30fa\u3400-\u9fff]")  # not ー, which is drawn out: すごーーーい
NUMBERING = re.compile(r"^(?:[(（]?[0-9０-９]{1,3}[.．、)）:：]|[①-⑳・*-])\s*")  # a list may count its loop
LEAST_RUN = 40  # characters that a loop covers at least
LEAST_TIMES = 4
LEAST_TIMES_OF_LONG = 3  # of a unit of a sentence's length
LONG_UNIT = 12
SENTENCE_TIMES = 4  # the same sentence, wherever it stands
LEAST_SENTENCE = 10
COMPRESSIBLE = 0.15  # bytes left of each; Japanese prose keeps 0.4 and more, tables of statutes 0.18
LEAST_COMPRESSIBLE = 400  # characters: short texts compress badly, whatever they say


@dataclass(frozen=True)
class Loop:
    """A unit that follows itself."""

    unit: str
    times: float
    characters: int  # that the run covers


def longest_loop(text: str) -> Loop | None:
    """The run in which a unit of up to 300 characters follows itself that covers most; None where there is none of
    two times. Units without a letter, kana or kanji (rules, dots, borders of tables) do not count."""
    import numpy as np

    signs = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    best: Loop | None = None
    for period in range(1, min(LONGEST_PERIOD, len(signs) // 2) + 1):
        same = np.concatenate(([0], (signs[period:] == signs[:-period]).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(same))
        begins, ends = edges[::2], edges[1::2]
        for i in np.argsort(begins - ends)[:3]:
            run = int(ends[i] - begins[i]) + period
            unit = text[int(begins[i]) : int(begins[i]) + period]
            if run >= 2 * period and (best is None or run > best.characters) and WORDS.search(unit):
                best = Loop(unit, run / period, run)
    return best


def compression(text: str) -> float:
    """Bytes of the text after DEFLATE (level 9) over its bytes before; 1 for an empty text."""
    raw = text.encode("utf-8", "replace")
    return len(zlib.compress(raw, 9)) / len(raw) if raw else 1.0


def distinct(text: str, n: int) -> float:
    """Share of the character n-grams that are different ones (distinct-n, Li et al. 2016); 1 for a short text."""
    signs = re.sub(r"\s+", "", text)
    grams = [signs[i : i + n] for i in range(len(signs) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def most_repeated_sentence(text: str) -> int:
    """How often the commonest sentence of ten characters and more stands in the text."""
    sentences = [NUMBERING.sub("", part.strip()) for part in re.split(r"[。！？\n]", text)]
    own = [one for one in sentences if len(one) >= LEAST_SENTENCE and WORDS.search(one)]
    return max(map(own.count, set(own)), default=0)


def loops(text: str) -> list[str]:
    """Why the text is a loop, in words; nothing for a text that is none."""
    found = []
    if (loop := longest_loop(text)) is not None and loop.characters >= LEAST_RUN:
        enough = LEAST_TIMES_OF_LONG if len(loop.unit) >= LONG_UNIT else LEAST_TIMES
        if loop.times >= enough:
            found.append(f"{loop.unit[:30]!r} follows itself {loop.times:.1f} times")
    if (times := most_repeated_sentence(text)) >= SENTENCE_TIMES:
        found.append(f"one sentence stands there {times} times")
    if len(text) >= LEAST_COMPRESSIBLE and (left := compression(text)) < COMPRESSIBLE:
        found.append(f"{left:.0%} of its bytes are left after compression")
    return found
