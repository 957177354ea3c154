"""Results of evaluations built by code, as inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench_results import CPU
from edgellm.evals.scoring import by_category, mean_score
from edgellm.records.bench import BenchedModel
from edgellm.records.evals import EvalResult, ItemRecord, JudgeFingerprint

JUDGE = JudgeFingerprint(name="judge-8b", prompts="edgellm", prompts_sha256="sha256:" + "0" * 64, temperature=0.0)
CATEGORIES = ("coding", "writing")


def records_of(scores: Mapping[str, Sequence[float | None]]) -> tuple[ItemRecord, ...]:
    """Two turns of each item by its id, those of even number of the first category; None is a failed one."""
    return tuple(
        ItemRecord(
            id=item, category=CATEGORIES[number % 2], turn=turn, prompt="問い", answer="答え", score=score,
            status="ok" if score is not None else "failed",
        )
        for number, (item, turns) in enumerate(scores.items()) for turn, score in enumerate(turns, 1)
    )  # fmt: skip


def scores_around(mean: float, items: int = 20, shift: float = 0.0) -> dict[str, Sequence[float | None]]:
    """Items that differ a lot from each other, each shifted alike but for a little."""
    return {f"q{n}": (mean + (n % 7 - 3) + shift + 0.1 * (n % 3 - 1), mean + (n % 5 - 2) + shift) for n in range(items)}


def evaluation(
    scores: Mapping[str, Sequence[float | None]], recipe: str | None = "llm-jp-4-8b", file_type: str = "Q4_K_M",
    **changes: Any,
) -> EvalResult:  # fmt: skip
    records = records_of(scores)
    values = [(r.score, r.id) for r in records if r.score is not None]
    fields: dict[str, Any] = {
        "suite": "mt-bench-ja", "protocol": "edgellm", "target": f"/models/{recipe}.gguf",
        "model": BenchedModel(
            name=f"{recipe}-{file_type}", recipe=recipe, file_type=file_type, size_bytes=5_300_000_000,
            sha256=f"sha256:{recipe}{file_type}",
        ),
        "model_name": f"{recipe}-{file_type}",
        "score": mean_score([v for v, _ in values], [i for _, i in values]) if values else None,
        "scale": 10.0, "categories": by_category(records), "items": len(scores),
        "failed": sum(r.status == "failed" for r in records), "judge": JUDGE,
        "items_sha256": "sha256:" + "1" * 64, "protocol_sha256": "sha256:" + "2" * 64,
        "settings": {"limit": None, "seed": 0, "concurrency": 4, "resumed": 0}, "records": records, "machine": CPU,
        "versions": {"edgellm": "0.1.0"}, "created": "2026-11-22T13:00:00+00:00",
    }  # fmt: skip
    return EvalResult(**(fields | changes))
