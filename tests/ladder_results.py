"""Results of a ladder built by code."""

from __future__ import annotations

from typing import Any

import numpy as np

from demo_results import around
from edgellm.measures.fidelity import Document
from edgellm.measures.fidelity_figures import RATIOS, Sums, by_kind
from edgellm.records.evals import Score
from edgellm.records.ladder import DocumentSums, Flips, LadderBase, LadderResult, LadderRow, LadderScore
from edgellm.records.recipe import Gate
from edgellm.records.results import Fidelity
from edgellm.records.statistics import Interval, Spread

KINDS = ("literary", "literary", "technical", "technical", "literary", "english", "english")
TYPES = (("Q2_K", 3_650_000, 0.09), ("Q4_K_M", 4_690_000, 0.009), ("Q8_0", 7_440_000, 0.00026))


def sums(kld: float, seed: int = 0) -> Sums:
    """Documents whose difficulty is the same for every ladder, and whose divergences lie around `kld` nats a token."""
    hard, drawn = np.random.default_rng(1).uniform(0.5, 2, len(KINDS)), np.random.default_rng(seed)
    tokens = np.array([100.0, 120, 90, 110, 100, 80, 95])
    return Sums(
        tokens=tokens, utf8_bytes=tokens * 5, characters=tokens * 2,
        kld=tokens * kld * hard * drawn.uniform(0.98, 1.02, len(KINDS)), same_top=np.floor(tokens * (1 - kld)),
        nats=tokens * (3 * hard + kld), reference_nats=tokens * 3 * hard, delta_p=-tokens * kld / 10,
        delta_p_squared=tokens * kld / 50,
    )  # fmt: skip


def row(type_name: str, size: int, kld: float, *, seed: int = 0, **changed: Any) -> LadderRow:
    found = sums(kld, seed)
    documents = [Document([0, 1], 5, 2, kind, only_kind=kind == "english") for kind in KINDS]
    whole = found.pick([i for i, d in enumerate(documents) if not d.only_kind])
    figures = {name: rule.interval(whole) for name, rule in RATIOS.items()}
    kinds = by_kind(found, documents)
    fidelity = Fidelity(
        tokens=520, documents=5, median_kld=around(kld / 2), p90_kld=around(kld * 3), p99_kld=around(kld * 8),
        p999_kld=around(kld * 20), max_kld=kld * 40, perplexity=30.0, reference_perplexity=29.0,
        reference_bits_per_byte=1.5, reference_bits_per_character=4.5, by_kind=kinds, **figures,
    )  # fmt: skip
    stored = {name: tuple(getattr(found, name).tolist()) for name in Sums.__dataclass_fields__}
    fields = {
        "type": type_name, "size_bytes": size, "bits_per_weight": size / 880_000, "fidelity": fidelity,
        "mean_kld": fidelity.mean_kld, "same_top_percent": fidelity.same_top_percent,
        "bits_per_byte": fidelity.bits_per_byte, "bits_per_character": fidelity.bits_per_character, "by_kind": kinds,
        "flips": Flips(flips=7, items=100, percent=around(7.0)), "decode_tokens_per_s": 512.5,
        "decode": Spread(median=512.5, low=500.0, high=520.0), "decode_valid": True,
        "scores": {"judge-free": LadderScore(score=Score(mean=0.4, low=0.3, high=0.5),
                                             change=Interval(value=-0.1, low=-0.15, high=-0.05))},
        "passes": True, "reasons": [],
        "sums": DocumentSums(kinds=KINDS, in_whole=tuple(k != "english" for k in KINDS), **stored),
    }  # fmt: skip
    return LadderRow(**(fields | changed))


def ladder(*, seed: int = 0, factor: float = 1.0, **changed: Any) -> LadderResult:
    """`factor` multiplies every divergence."""
    rows = [row(name, size, kld * factor, seed=seed) for name, size, kld in TYPES]
    rows[0] = rows[0].model_copy(update={"passes": False, "reasons": ["mean KLD is 0.11, limit 0.02"]})
    fields = {
        "target": "tiny-ja", "recipe": "tiny-ja", "gate": Gate(max_mean_kld=0.02),
        "gate_from": "[gates.Q4_K_M] of the recipe tiny-ja", "rule": "the smallest file that keeps the gate",
        "rows": rows, "recommended": "Q4_K_M", "monotone": True,
        "stock": [row("Q2_K", 4_000_000, 0.07, change_to_ours=around(0.02)), row("Q4_K_M", 3_900_000, 0.08), rows[2]],
        "stock_disorder": ["Q4_K_M is no larger than Q2_K"],
        "base": LadderBase(size_bytes=28_000_000, bits_per_byte=1.5, bits_per_character=4.5,
                           scores={"judge-free": LadderScore(score=Score(mean=0.5, low=0.4, high=0.6))}),
        "reference_sha256": "sha256:0", "texts_sha256": "sha256:1", "notes": ["english is not what it was made for"],
        "machine": {"cpu": "a cpu", "cores": 2}, "created": "2026-11-22T00:00:00+00:00",
    }  # fmt: skip
    return LadderResult(**(fields | changed))
