"""From tallies to figures, each with an interval that resamples documents.

Perplexity is exp(mean −log p(token)). Bits per byte and bits per character are the summed −log₂ p(token) over the
UTF-8 bytes and the Unicode characters of the text, so that models with different vocabularies can be compared. Δp is
the artifact's probability of the token that follows less the reference's; its mean, its root mean square, the quantiles
of the divergence (linear between neighbours) and same top are those of `llama-perplexity --kl-divergence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgellm.engines.protocol import Runtime
from edgellm.measures.fidelity import WINDOW_TOKENS, Document, Floats, Tally, tallies
from edgellm.measures.statistics import RESAMPLES, SEED, ratio_interval
from edgellm.records.results import Fidelity, KindFidelity
from edgellm.records.statistics import Interval

QUANTILES = {"median_kld": 0.5, "p90_kld": 0.9, "p99_kld": 0.99, "p999_kld": 0.999}
QUANTILE_RESAMPLES = RESAMPLES // 4  # each pools the tokens again


@dataclass(frozen=True)
class Sums:
    """Sums over each document's tokens; every array has shape (documents,)."""

    tokens: Floats
    utf8_bytes: Floats
    characters: Floats  # 0 where they were not counted
    kld: Floats
    same_top: Floats
    nats: Floats
    reference_nats: Floats
    delta_p: Floats
    delta_p_squared: Floats

    def pick(self, places: Sequence[int]) -> Sums:
        chosen = np.asarray(places, np.int64)
        return Sums(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def sums_of(tally: Tally, own: Tally, documents: Sequence[Document]) -> Sums:
    """`own` is the reference's tally of the same documents."""

    def each(values: Sequence[Any]) -> Floats:
        return np.array([float(np.sum(v)) for v in values], np.float64)

    deltas = [np.exp(-n) - np.exp(-o) for n, o in zip(tally.nats, own.nats, strict=True)]
    return Sums(
        tokens=np.array([len(k) for k in tally.kld], np.float64),
        utf8_bytes=np.array([d.utf8_bytes for d in documents], np.float64),
        characters=np.array([d.characters for d in documents], np.float64),
        kld=each(tally.kld), same_top=each(tally.same_top), nats=each(tally.nats), reference_nats=each(own.nats),
        delta_p=each(deltas), delta_p_squared=each([d**2 for d in deltas]),
    )  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """A measure that is a growing function of a ratio of sums over documents."""

    over: Callable[[Sums], Floats]
    under: Callable[[Sums], Floats]
    finish: Callable[[Any], Any] | None = None  # np.exp or np.sqrt; None: the ratio itself

    def interval(self, sums: Sums) -> Interval:
        found = ratio_interval(self.over(sums), self.under(sums))
        if self.finish is None:
            return found
        # The percentiles of a growing function are the function of the percentiles.
        ends = {k: float(self.finish(getattr(found, k))) for k in ("value", "low", "high")}
        return Interval(**ends)


def tokens(sums: Sums) -> Floats:
    return sums.tokens


RATIOS: Mapping[str, Ratio] = {
    "mean_kld": Ratio(lambda s: s.kld, tokens),
    "same_top_percent": Ratio(lambda s: s.same_top * 100.0, tokens),
    # Both models see the same documents, so what makes a text hard for both cancels.
    "perplexity_ratio": Ratio(lambda s: s.nats - s.reference_nats, tokens, np.exp),
    "mean_delta_p_percent": Ratio(lambda s: s.delta_p * 100.0, tokens),
    "rms_delta_p_percent": Ratio(lambda s: s.delta_p_squared * 1e4, tokens, np.sqrt),
    "bits_per_byte": Ratio(lambda s: s.nats / math.log(2), lambda s: s.utf8_bytes),
    "bits_per_character": Ratio(lambda s: s.nats / math.log(2), lambda s: s.characters),
}
OF_KINDS = (
    "mean_kld", "same_top_percent", "perplexity_ratio", "mean_delta_p_percent", "bits_per_byte", "bits_per_character",
)  # fmt: skip


def compare(
    reference: Runtime,
    artifacts: Mapping[str, Runtime],
    documents: Sequence[Document],
    window_tokens: int = WINDOW_TOKENS,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Fidelity]:
    """Measure every artifact against the reference in one pass over the documents; raises as `tallies` does."""
    own, found, kept = tallies(reference, artifacts, documents, window_tokens, on_progress)
    return {name: summary(tally, own, kept) for name, tally in found.items()}


def summary(tally: Tally, own: Tally, documents: Sequence[Document]) -> Fidelity:
    """The figures of an artifact; `own` is the reference's tally of the same documents.

    Documents that are `only_kind` count for `by_kind` alone, which is filled where documents have kinds. Where all are,
    they make up the whole too.
    """
    sums = sums_of(tally, own, documents)
    whole = [i for i, d in enumerate(documents) if not d.only_kind] or list(range(len(documents)))
    parts, kld = sums.pick(whole), [tally.kld[i] for i in whole]
    count, reference_nats = parts.tokens.sum(), parts.reference_nats.sum()
    characters = parts.characters.sum() if parts.characters.all() else None
    return Fidelity(
        tokens=int(count),
        documents=len(whole),
        max_kld=float(max(k.max() for k in kld)),
        perplexity=math.exp(parts.nats.sum() / count),
        reference_perplexity=math.exp(reference_nats / count),
        reference_bits_per_byte=float(reference_nats / math.log(2) / parts.utf8_bytes.sum()),
        reference_bits_per_character=float(reference_nats / math.log(2) / characters) if characters else None,
        by_kind=by_kind(sums, documents),
        **ratios(parts, RATIOS),
        **quantiles(kld),
    )


def ratios(sums: Sums, names: Sequence[str] | Mapping[str, Ratio]) -> dict[str, Any]:
    """Measure → interval, without those whose unit was not counted in every document."""
    known = [name for name in names if RATIOS[name].under(sums).all()]
    return {name: RATIOS[name].interval(sums) for name in known}


def by_kind(sums: Sums, documents: Sequence[Document]) -> dict[str, KindFidelity]:
    """In the order in which kinds first stand among the documents."""
    found = {}
    for kind in dict.fromkeys(d.kind for d in documents if d.kind):
        places = [i for i, d in enumerate(documents) if d.kind == kind]
        part = sums.pick(places)
        found[kind] = KindFidelity(tokens=int(part.tokens.sum()), documents=len(places), **ratios(part, OF_KINDS))
    return found


def quantiles(documents: Sequence[Floats]) -> dict[str, Any]:
    """The quantiles of all documents' values pooled, with 95 % percentile bootstraps that resample documents."""
    shares = list(QUANTILES.values())
    values = np.quantile(np.concatenate(documents), shares)
    if len(documents) < 2:
        ends = np.array([values, values])
    else:
        draws = np.array([np.quantile(pooled(documents, drawn), shares) for drawn in resamples(len(documents))])
        ends = np.percentile(draws, [2.5, 97.5], axis=0)
    return {
        name: Interval(value=float(values[i]), low=float(ends[0][i]), high=float(ends[1][i]))
        for i, name in enumerate(QUANTILES)
    }


def pooled(documents: Sequence[Floats], places: Sequence[int]) -> Floats:
    return np.concatenate([documents[i] for i in places])


def resamples(documents: int) -> list[list[int]]:
    """The same draws of whole documents every time, so that two artifacts' are pairs."""
    draws = np.random.default_rng(SEED).integers(0, documents, (QUANTILE_RESAMPLES, documents))
    return [row.tolist() for row in draws]
