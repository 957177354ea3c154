"""How far an artifact's predictions are from its reference on the same token ids.

Perplexity is exp(mean −log p(token)); KL divergence per position is Σ p_ref (log p_ref − log p_art), in nats
(Kullback and Leibler 1951; the direction is llama.cpp's `--kl-divergence`); bits per byte is the summed
−log₂ p(token) over the UTF-8 bytes of the text, so models with different vocabularies can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.protocol import Feed, Logits, Runtime
from edgellm.errors import UsageError
from edgellm.measures.statistics import pooled_interval, ratio_interval
from edgellm.records.results import Fidelity
from edgellm.records.statistics import Interval

Floats = NDArray[np.float64]
WINDOW_TOKENS = 512


@dataclass(frozen=True)
class Document:
    """One text as the exact tokenizer sees it: `ids` begins with the token that precedes the text (BOS)."""

    ids: Sequence[int]
    utf8_bytes: int


@dataclass
class Tally:
    """What is kept of every document: arrays of shape (predicted tokens,)."""

    kld: list[Floats] = field(default_factory=list)
    same_top: list[Floats] = field(default_factory=list)
    nats: list[Floats] = field(default_factory=list)  # −log p(token)


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


def predictions(runtime: Runtime, inputs: Sequence[int]) -> Logits:
    """Log-probabilities after each of `inputs`, from an empty sequence 0; shape (len(inputs), vocab)."""
    runtime.keep(0, 0)
    parts = []
    for i in range(0, len(inputs), runtime.info.step_tokens):
        (logits,) = runtime.step([Feed(0, inputs[i : i + runtime.info.step_tokens], "all")])
        parts.append(log_softmax(logits))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def compare(
    reference: Runtime,
    artifacts: Mapping[str, Runtime],
    documents: Sequence[Document],
    window_tokens: int = WINDOW_TOKENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Fidelity]:
    """Measure every artifact against the reference in one pass over the documents; see `tallies`."""
    own, found, sizes = tallies(reference, artifacts, documents, window_tokens, on_progress)
    return {name: summary(tally, own, sizes) for name, tally in found.items()}


def tallies(
    reference: Runtime,
    artifacts: Mapping[str, Runtime],
    documents: Sequence[Document],
    window_tokens: int = WINDOW_TOKENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Tally, dict[str, Tally], Floats]:
    """The reference's own tally (nats alone), that of each artifact, and the UTF-8 bytes of each document.

    All runtimes must share the vocabulary. Windows are independent: each starts from an empty sequence. A document
    without a token to predict is left out. Raises UsageError when there is none, or vocabularies differ in size.
    """
    vocab_tokens = reference.info.vocab_tokens
    for name, runtime in artifacts.items():
        if runtime.info.vocab_tokens != vocab_tokens:
            raise UsageError(
                f"{name} has {runtime.info.vocab_tokens} tokens and the reference {vocab_tokens}; "
                "compare an artifact with the checkpoint that it was made from"
            )
    documents = [d for d in documents if len(d.ids) > 1]
    if not documents:
        raise UsageError("the verification text holds no token to predict; give a longer text")
    own, found = Tally(), {name: Tally() for name in artifacts}
    for done, document in enumerate(documents):
        cuts = windows(document.ids, window_tokens)
        expected = [predictions(reference, inputs) for inputs, _ in cuts]
        targets = [np.asarray(t) for _, t in cuts]
        own.nats.append(surprise(expected, targets))
        for name, runtime in artifacts.items():
            add(found[name], expected, [predictions(runtime, inputs) for inputs, _ in cuts], targets)
        if on_progress:
            on_progress(done + 1, len(documents))
    return own, found, np.array([d.utf8_bytes for d in documents], np.float64)


def surprise(rows: Sequence[Logits], targets: Sequence[NDArray[np.int64]]) -> Floats:
    """−log p of each target, in nats; shape (tokens,)."""
    return np.concatenate([-r[np.arange(len(t)), t].astype(np.float64) for r, t in zip(rows, targets, strict=True)])


def divergences(expected: Logits, got: Logits) -> Floats:
    """KL divergence of each row of log-probabilities, (tokens, vocab) in and (tokens,) out, in nats."""
    found: Floats = (np.exp(expected) * (expected - got)).sum(axis=1, dtype=np.float64)
    return np.maximum(found, 0.0)  # rounding can push a zero divergence below zero by an ulp


def add(tally: Tally, expected: Sequence[Logits], got: Sequence[Logits], targets: Sequence[NDArray[np.int64]]) -> None:
    kld = [divergences(p, q) for p, q in zip(expected, got, strict=True)]
    same = [p.argmax(axis=1) == q.argmax(axis=1) for p, q in zip(expected, got, strict=True)]
    tally.kld.append(np.concatenate(kld))
    tally.same_top.append(np.concatenate(same).astype(np.float64))
    tally.nats.append(surprise(got, targets))


def kld_change(before: Tally, after: Tally) -> Interval:
    """How much the mean KL divergence changes from one artifact to another, paired document by document, in nats."""
    changes = np.array([float(a.sum() - b.sum()) for b, a in zip(before.kld, after.kld, strict=True)])
    return ratio_interval(changes, np.array([len(k) for k in before.kld], np.float64))


def summary(tally: Tally, own: Tally, sizes: Floats) -> Fidelity:
    counts = np.array([len(k) for k in tally.kld], np.float64)
    nats, own_nats = (np.array([float(n.sum()) for n in t.nats]) for t in (tally, own))
    same = ratio_interval(np.array([s.sum() for s in tally.same_top]) * 100.0, counts)
    # The ratio of perplexities is the exponential of the mean difference, so its interval is too.
    difference = ratio_interval(nats - own_nats, counts)
    return Fidelity(
        tokens=int(counts.sum()),
        documents=len(counts),
        mean_kld=ratio_interval(np.array([float(k.sum()) for k in tally.kld]), counts),
        median_kld=pooled_interval(tally.kld, lambda v: float(np.median(v))),
        p999_kld=pooled_interval(tally.kld, lambda v: float(np.quantile(v, 0.999))),
        same_top_percent=same,
        perplexity=math.exp(nats.sum() / counts.sum()),
        reference_perplexity=math.exp(own_nats.sum() / counts.sum()),
        perplexity_ratio=difference.model_copy(
            update={k: math.exp(getattr(difference, k)) for k in ("value", "low", "high")}
        ),
        bits_per_byte=ratio_interval(nats / math.log(2), sizes),
        reference_bits_per_byte=float(own_nats.sum() / math.log(2) / sizes.sum()),
    )
