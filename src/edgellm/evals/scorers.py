"""Answers that were given elsewhere, in a file: the suites that score them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import edgellm
from edgellm.errors import UsageError
from edgellm.evals.run import Outcome
from edgellm.records.evals import EvalResult
from edgellm.store import digest


@dataclass(frozen=True)
class Scored:
    outcome: Outcome
    protocol: str
    items_sha256: str
    protocol_sha256: str


Scorer = Callable[[Path, Path | None], Scored]  # the file of answers, the file of items


def _ifeval_ja(answers: Path, items: Path | None) -> Scored:
    from edgellm.evals.ifeval_ja.suite import PROTOCOL, score_file

    outcome, items_sha256, rules_sha256 = score_file(answers, items)
    return Scored(outcome, PROTOCOL, items_sha256, rules_sha256)


def _choice(answers: Path, items: Path | None) -> Scored:
    from edgellm.evals.choice.suite import score_file

    return _of_items("choice", score_file, answers, items)


def _exam(answers: Path, items: Path | None) -> Scored:
    from edgellm.evals.choice.exam import score_file

    return _of_items("exam", score_file, answers, items)


def _of_items(
    suite: str, score_file: Callable[[Path, Path], Outcome], answers: Path, items: Path | None
) -> Scored:  # fmt: skip
    if items is None:
        raise UsageError(f"{suite} needs the questions that were answered; pass their file with --items")
    protocol = digest.of_value([suite, edgellm.__version__])
    return Scored(score_file(answers, items), suite, digest.of_file(items), protocol)


SCORERS: Mapping[str, Scorer] = {"ifeval-ja": _ifeval_ja, "choice": _choice, "exam": _exam}


def score(suite: str, answers: Path, items: Path | None) -> EvalResult:
    """Score a file of answers as `eval run` would have scored them.

    Raises UsageError for a suite that scores no files, BadInput for lines that cannot be read.
    """
    if suite not in SCORERS:
        raise UsageError(f"{suite} does not score files of answers; take one of {', '.join(SCORERS)}")
    scored = SCORERS[suite](answers, items)
    found = scored.outcome
    counts = Counter(record.status for record in found.records)
    return EvalResult(
        suite=suite,
        protocol=scored.protocol,
        target=str(answers),
        score=found.score,
        scale=found.scale,
        categories=dict(found.categories),
        items=found.items,
        failed=counts["failed"],
        empty=counts["empty"],
        refused=counts["refused"],
        unscored=counts["unscored"],
        strict=found.strict,
        loose=found.loose,
        measures=dict(found.measures),
        judge=found.judge,
        items_sha256=scored.items_sha256,
        protocol_sha256=scored.protocol_sha256,
        notes=tuple(found.notes),
        records=tuple(found.records),
        versions={"edgellm": edgellm.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
