"""How far an artifact's predictions are from its reference on the same token ids: what is kept of every token.

KL divergence per position is Σ p_ref (log p_ref − log p_art), in nats (Kullback and Leibler 1951; the direction is
llama.cpp's `--kl-divergence`). What follows from that over documents is in `fidelity_figures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.protocol import Feed, Logits, Runtime
from edgellm.errors import UsageError
from edgellm.measures.statistics import ratio_interval
from edgellm.records.statistics import Interval

Floats = NDArray[np.float64]
WINDOW_TOKENS = 512
ROWS_BYTES = 128 << 20  # of one model's log-probabilities at a time: a whole window up to 65,536 tokens of vocabulary


@dataclass(frozen=True)
class Document:
    """One text as the exact tokenizer sees it: `ids` begins with the token that precedes the text (BOS)."""

    ids: Sequence[int]
    utf8_bytes: int
    characters: int = 0  # 0: not known
    kind: str = ""  # such as `literary`; empty: not known
    only_kind: bool = False  # measured for its kind alone: the figures of the whole leave it out


@dataclass(frozen=True)
class Columns:
    """What is kept of one document: three arrays of shape (predicted tokens,)."""

    kld: Floats
    same_top: Floats  # 1.0 or 0.0
    nats: Floats  # −log p(token)


@dataclass
class Tally:
    """What is kept of every document; of the reference itself only `nats`."""

    kld: list[Floats] = field(default_factory=list)
    same_top: list[Floats] = field(default_factory=list)
    nats: list[Floats] = field(default_factory=list)

    def add(self, columns: Columns) -> None:
        self.kld.append(columns.kld)
        self.same_top.append(columns.same_top)
        self.nats.append(columns.nats)


def log_softmax(logits: Logits) -> Logits:
    """Row-wise; (n, vocab) float32 in and out, the sum in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)
    found: Logits = shifted - np.log(total).astype(np.float32)
    return found


def windows(ids: Sequence[int], length: int) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Cut a document into (inputs, targets) of at most `length` ids; each but the first is a target once."""
    predicting = ids[:-1]  # nothing follows the last token
    return [(predicting[i : i + length], ids[i + 1 : i + 1 + length]) for i in range(0, len(predicting), length)]


def log_probabilities(runtime: Runtime, inputs: Sequence[int]) -> Logits:
    """After each of `inputs`, which follow what sequence 0 holds; shape (len(inputs), vocab)."""
    (logits,) = runtime.step([Feed(0, inputs, "all")])
    return log_softmax(logits)


def predictions(runtime: Runtime, inputs: Sequence[int]) -> Logits:
    """Log-probabilities after each of `inputs`, from an empty sequence 0; shape (len(inputs), vocab)."""
    runtime.keep(0, 0)
    step = runtime.info.step_tokens
    parts = [log_probabilities(runtime, inputs[i : i + step]) for i in range(0, len(inputs), step)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def tallies(
    reference: Runtime,
    artifacts: Mapping[str, Runtime],
    documents: Sequence[Document],
    window_tokens: int = WINDOW_TOKENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Tally, dict[str, Tally], list[Document]]:
    """The reference's own tally (nats alone), that of each artifact, and the documents that they are of.

    All runtimes must share the vocabulary. Windows are independent: each starts from an empty sequence. A document
    without a token to predict is left out. Raises UsageError when there is none, or vocabularies differ in size.
    """
    check_vocabularies(reference, artifacts)
    documents = predictable(documents)
    own, found = Tally(), {name: Tally() for name in artifacts}
    for done, document in enumerate(documents):
        nats, columns = measured(reference, artifacts, document, window_tokens)
        own.nats.append(nats)
        for name, tally in found.items():
            tally.add(columns[name])
        if on_progress:
            on_progress(done + 1, len(documents))
    return own, found, documents


def check_vocabularies(reference: Runtime, artifacts: Mapping[str, Runtime]) -> None:
    vocab_tokens = reference.info.vocab_tokens
    for name, runtime in artifacts.items():
        if runtime.info.vocab_tokens != vocab_tokens:
            raise UsageError(
                f"{name} has {runtime.info.vocab_tokens} tokens and the reference {vocab_tokens}; "
                "compare an artifact with the checkpoint that it was made from"
            )


def predictable(documents: Sequence[Document]) -> list[Document]:
    """Those that hold a token to predict; raises UsageError where none does."""
    found = [d for d in documents if len(d.ids) > 1]
    if not found:
        raise UsageError("the verification text holds no token to predict; give a longer text")
    return found


def measured(
    reference: Runtime, artifacts: Mapping[str, Runtime], document: Document, window_tokens: int
) -> tuple[Floats, dict[str, Columns]]:
    """One document: the reference's −log p of its tokens, and the columns of each artifact.

    The rows of all models are made and dropped piece by piece, so that no more of them is ever held than `ROWS_BYTES`
    and what arithmetic needs beside it, however large the vocabulary and however long the document.
    """
    own: list[Floats] = []
    parts: dict[str, list[Columns]] = {name: [] for name in artifacts}
    step = rows_at_once([reference, *artifacts.values()])
    for piece, targets in pieces([reference, *artifacts.values()], document.ids, window_tokens, step):
        expected = log_probabilities(reference, piece)
        chances = np.exp(expected)
        own.append(surprise(expected, targets))
        for name, runtime in artifacts.items():
            got = log_probabilities(runtime, piece)
            same = (expected.argmax(axis=1) == got.argmax(axis=1)).astype(np.float64)
            parts[name].append(Columns(divergences(expected, got, chances), same, surprise(got, targets)))
    return np.concatenate(own), {name: joined(columns) for name, columns in parts.items()}


def pieces(
    runtimes: Sequence[Runtime], ids: Sequence[int], window_tokens: int, step: int
) -> Iterator[tuple[Sequence[int], NDArray[np.int64]]]:
    """The (inputs, targets) of a document at most `step` at a time; where a window begins, every runtime's sequence is
    emptied first."""
    for inputs, targets in windows(ids, window_tokens):
        for runtime in runtimes:
            runtime.keep(0, 0)
        for i in range(0, len(inputs), step):
            yield inputs[i : i + step], np.asarray(targets[i : i + step], np.int64)


def rows_at_once(runtimes: Sequence[Runtime]) -> int:
    """How many positions are computed together: what the narrowest runtime takes, within `ROWS_BYTES`."""
    fitting = ROWS_BYTES // (4 * max(runtime.info.vocab_tokens for runtime in runtimes))
    return max(1, min(fitting, *(runtime.info.step_tokens for runtime in runtimes)))


def joined(columns: Sequence[Columns]) -> Columns:
    kld, same_top, nats = (np.concatenate([getattr(c, n) for c in columns]) for n in ("kld", "same_top", "nats"))
    return Columns(kld, same_top, nats)


def surprise(rows: Logits, targets: NDArray[np.int64]) -> Floats:
    """−log p of each target, in nats; shape (tokens,)."""
    found: Floats = -rows[np.arange(len(targets)), targets].astype(np.float64)
    return found


def divergences(expected: Logits, got: Logits, chances: Logits | None = None) -> Floats:
    """KL divergence of each row of log-probabilities, (tokens, vocab) in and (tokens,) out, in nats.

    chances: exp(expected), where it is at hand.
    """
    p = np.exp(expected) if chances is None else chances
    found: Floats = (p * (expected - got)).sum(axis=1, dtype=np.float64)
    return np.maximum(found, 0.0)  # rounding can push a zero divergence below zero by an ulp


def kld_change(before: Tally, after: Tally) -> Interval:
    """How much the mean KL divergence changes from one artifact to another, paired document by document, in nats."""
    changes = np.array([float(a.sum() - b.sum()) for b, a in zip(before.kld, after.kld, strict=True)])
    return ratio_interval(changes, np.array([len(k) for k in before.kld], np.float64))
