"""Which text an importance matrix sees: sources with weights, and that none of them is what fidelity is measured on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.errors import BadInput, UsageError
from edgellm.store import catalogue

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

SHIPPED, SELF, NONE = "shipped", "self", "none"
CHUNK_TOKENS = 512
FEWEST_TOKENS = 16  # the collector skips smaller chunks, as llama.cpp's does
BUDGET_TOKENS = 24_576  # of a mix, and of text that the model writes alone
OVERLAP = 40  # characters in a row, spaces aside; shorter ones are set phrases


@dataclass(frozen=True)
class Source:
    """`shipped`, `self` or a text file, and its share of a mix."""

    name: str
    weight: float = 1.0

    def documents(self) -> list[str]:
        """Raises BadInput for a file that is missing, empty or no UTF-8."""
        return catalogue.read_documents(catalogue.TEXTS / "calibration" if self.name == SHIPPED else Path(self.name))


def parse_sources(texts: str | Sequence[str]) -> tuple[Source, ...]:
    """`FILE|shipped|self`, each with or without `=WEIGHT`; a file whose name ends in `=2` is named by its folder too.

    Raises UsageError for a weight that is no positive number and for a source that stands there twice.
    """
    found = []
    for text in [texts] if isinstance(texts, str) else texts:
        name, equals, weight = text.rpartition("=")
        if not equals or Path(text).is_file():
            found.append(Source(text))
        elif not name or not re.fullmatch(r"\d*\.?\d+", weight) or float(weight) <= 0:
            raise UsageError(f"{text!r} is not FILE=WEIGHT with a weight above 0; write for example 'my.txt=2'")
        else:
            found.append(Source(name, float(weight)))
    names = [source.name for source in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"the calibration text {twice[0]!r} is named twice; give it once, with a weight")
    return tuple(found)


def check_sources(sources: Iterable[Source]) -> None:
    """Read every file; raises BadInput for what is no text, UsageError for one that holds verification text."""
    for source in sources:
        if source.name != SELF:
            check_overlap(source)


def check_overlap(source: Source) -> None:
    held_out = {
        text[i : i + OVERLAP] for text in map(normalised, held_out_documents()) for i in range(len(text) - OVERLAP + 1)
    }
    for number, document in enumerate(source.documents(), start=1):
        text = normalised(document)
        shared = next((s for i in range(len(text)) if (s := text[i : i + OVERLAP]) in held_out), None)
        if shared:
            raise UsageError(
                f"document {number} of {source.name} holds text that fidelity is measured on (“{shared}”), which "
                "would flatter the result; leave it out"
            )


def held_out_documents() -> list[str]:
    """All texts that fidelity is measured on: those of the gates, and those of further kinds."""
    folder = catalogue.TEXTS / "verification"
    return [*catalogue.read_documents(folder), *catalogue.read_documents(folder / "kinds")]


def normalised(text: str) -> str:
    """Without spaces and line ends, and without the differences of width and case that hide a copy."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def mixed(
    sources: Sequence[Source], tokenizer: Tokenizer, written: Callable[[int], list[list[int]]]
) -> list[list[int]]:  # fmt: skip
    """The chunks to calibrate on. A source alone is used whole; several share the budget by their weights.

    A source with less text than its share gives all, and the others fill up. What is taken of a text is spread
    evenly over it. `written` makes chunks of the model's own text for a number of tokens.
    """
    if len(sources) == 1 and sources[0].name == SELF:
        return written(BUDGET_TOKENS)
    texts = {s.name: chunks_of(s.documents(), tokenizer) for s in sources if s.name != SELF}
    if len(sources) == 1:
        return texts[sources[0].name]
    chunks = []
    held = {name: len(found) for name, found in texts.items()}
    for name, count in shares(sources, held, BUDGET_TOKENS // CHUNK_TOKENS).items():
        chunks += spread(texts[name], count) if name in texts else written(count * CHUNK_TOKENS)
    return chunks


def sampled(sources: Sequence[Source], tokenizer: Tokenizer, tokens: int, length: int) -> list[list[int]]:
    """About `tokens` tokens of texts that are there, in chunks of `length`: by the sources' weights, and spread evenly
    over each text."""
    texts = {s.name: chunks_of(s.documents(), tokenizer, length) for s in sources}
    counts = shares(sources, {name: len(found) for name, found in texts.items()}, max(1, tokens // length))
    return [chunk for name, count in counts.items() for chunk in spread(texts[name], count)]


def shares(sources: Sequence[Source], held: dict[str, int], count: int) -> dict[str, int]:
    """How many of `count` chunks each source gives, at least one; `held` says how many there are of those that have
    an end."""
    left, open_sources, found = count, list(sources), {}
    while open_sources:
        unit = left / sum(s.weight for s in open_sources)
        # A source without an end is never short; its share of all that is left may round to a little more than that.
        short = [s for s in open_sources if s.name in held and held[s.name] < unit * s.weight]
        for source in short or open_sources:
            found[source.name] = held[source.name] if short else max(1, round(unit * source.weight))
        left -= sum(held[s.name] for s in short)
        open_sources = [s for s in open_sources if s not in short] if short else []
    return {s.name: found[s.name] for s in sources}


def spread(chunks: list[list[int]], count: int) -> list[list[int]]:
    return [chunks[i * len(chunks) // count] for i in range(count)]


def chunks_of(documents: Sequence[str], tokenizer: Tokenizer, length: int = CHUNK_TOKENS) -> list[list[int]]:
    """All documents after one another, cut into chunks of `length` tokens that begin with BOS where there is one.

    A last chunk of under 16 tokens is left out.
    """
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    stream = [i for d in documents for i in tokenizer.encode(d)]
    room = length - len(start)
    chunks = [start + stream[i : i + room] for i in range(0, len(stream), room)]
    chunks = [c for c in chunks if len(c) >= FEWEST_TOKENS]
    if not chunks:
        raise BadInput("the calibration text is shorter than 16 tokens; give a longer one")
    return chunks
