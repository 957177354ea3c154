"""Calibration text that the model writes itself: sampled from its own distribution, document by document.

It needs no data that fits the model's language and dialect, since the model brings both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgellm.engines.protocol import Feed, Runtime
from edgellm.errors import UsageError
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.sampling import Sampler

TEMPERATURE = 0.8  # at 1 small models wander off into noise


class Marks(Protocol):
    """What is asked of a tokenizer: where a text begins, and which ids end one."""

    @property
    def bos_id(self) -> int | None: ...
    @property
    def eos_id(self) -> int | None: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...


@dataclass
class Document:
    sampler: Sampler
    ids: list[int] = field(default_factory=list)


def generate(
    runtime: Runtime, tokenizer: Marks, tokens: int, chunk_tokens: int = 512,
    on_progress: Callable[[int, int], None] | None = None, *, seed: int = 0,
) -> list[list[int]]:  # fmt: skip
    """Let the model write until `tokens` are there, and cut them into chunks of exactly `chunk_tokens` ids.

    Each document starts from BOS (EOS where there is none) and runs until the model ends it or until it has
    filled a chunk or the context; as many are written at once as the runtime has sequences. Every chunk
    begins with the starting token. The same seed, model and number of sequences give the same text.

    on_progress: called with (tokens done, tokens in all). Raises UsageError for a vocabulary with neither BOS
    nor EOS.
    """
    start = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
    if start is None:
        raise UsageError("the vocabulary names neither BOS nor EOS for a text to start from; calibrate on a text file")
    room = chunk_tokens - 1
    chunks = max(1, -(-tokens // chunk_tokens))
    stream = written(runtime, start, tokenizer.stop_ids, chunks * room, room, seed, on_progress)
    return [[start, *stream[i * room : (i + 1) * room]] for i in range(chunks)]


def written(
    runtime: Runtime, start: int, stop_ids: frozenset[int], wanted: int, longest: int, seed: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[int]:  # fmt: skip
    """At least `wanted` ids of documents, in the order in which they were begun, without starting tokens."""
    documents: list[Document] = []
    longest = min(longest, runtime.info.context_tokens)

    def begin(sequence: int) -> Document:
        runtime.keep(sequence, 0)
        options = SamplingOptions(temperature=TEMPERATURE, top_p=1.0, seed=seed + len(documents))
        documents.append(Document(Sampler(options)))
        return documents[-1]

    writing = [begin(sequence) for sequence in range(runtime.info.sequences)]
    done = 0
    while done < wanted:
        feeds = [Feed(s, [document.ids[-1] if document.ids else start]) for s, document in enumerate(writing)]
        for sequence, logits in enumerate(runtime.step(feeds)):
            document = writing[sequence]
            document.ids.append(document.sampler.draw(logits[0]))
            if document.ids[-1] in stop_ids or len(document.ids) >= longest:
                writing[sequence] = begin(sequence)
        done += len(writing)
        if on_progress is not None:
            on_progress(min(done, wanted), wanted)
    return [i for document in documents for i in document.ids]
