"""What the types of a ladder answer: flips on multiple-choice items, and suites with the change to the base artifact.

What an artifact answered is a step of the work folder, so a ladder that was killed asks nothing twice: a suite under
way goes on by its journal, a finished one is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.build.eval_models import Asked
from edgellm.build.evaluating import Evaluation, evaluate
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.choice.flips import flips, own_items
from edgellm.evals.choice.items import ChoiceItem, items_digest
from edgellm.evals.choice.likelihood import MAIN, chosen_by, scored
from edgellm.evals.local_model import LocalModel
from edgellm.evals.options import SuiteOptions
from edgellm.evals.suites import make_suite
from edgellm.inference.target import Target
from edgellm.measures.statistics import ratio_interval
from edgellm.records.evals import EvalResult, ItemRecord
from edgellm.records.ladder import Flips, LadderScore
from edgellm.records.statistics import Interval
from edgellm.stages import Progress, labelled, versions_of
from edgellm.stages.fidelity import Artifact
from edgellm.store.atomic import write_text
from edgellm.store.work import WorkFolder

SEQUENCES = 4
JUDGED = "mt-bench-ja"
OPTIONS = RuntimeOptions(context_tokens=1024)  # an item of multiple choice has some hundred tokens
ANSWERS, RESULT = "answers.json", "result.json"
STAGE_VERSION = "1"


@dataclass(frozen=True)
class Suites:
    """Which suites the types are asked, by whom they are judged, and how many items of each."""

    names: Sequence[str] = ()
    judge: Asked | None = None
    limit: int | None = None
    options: RuntimeOptions = field(
        default_factory=lambda: RuntimeOptions(sequences=SEQUENCES, batch_invariant=True)
    )  # fmt: skip

    @property
    def all_names(self) -> list[str]:
        """Where there is a judge, what it judges is asked too."""
        return list(dict.fromkeys([*self.names, *([JUDGED] if self.judge is not None else [])]))


def choose_answers(
    target: Target, artifact: Artifact, items: Sequence[ChoiceItem], work: WorkFolder, progress: Progress | None = None
) -> list[ItemRecord]:
    """The choice that the artifact finds likeliest for each item, per character, without examples before it."""

    def make(folder: Path) -> None:
        chosen = {}
        with labelled(progress, f"multiple choice {target.name}") as on_progress, LocalModel(target, OPTIONS) as model:
            for done, item in enumerate(items, start=1):
                chosen[item.id] = chosen_by(scored(model, item))[MAIN]
                if on_progress:
                    on_progress(done, len(items))
        write_text(folder / ANSWERS, json.dumps(chosen))

    inputs = {"artifact": artifact.digest, "items": items_digest(items)}
    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    made = work.step("choices", inputs, {}, versions, make)
    chosen = json.loads((made.folder / ANSWERS).read_text(encoding="utf-8"))
    return [
        ItemRecord(id=i.id, score=float(chosen[i.id] == i.answer), detail={"chosen": chosen[i.id]}) for i in items
    ]  # fmt: skip


def items_for(limit: int | None) -> list[ChoiceItem]:
    return own_items()[:limit]


def flips_between(before: Sequence[ItemRecord], after: Sequence[ItemRecord]) -> Flips:
    """Items that are right in one alone, as Dutta et al. (2024) count them, with an interval over items."""
    found = flips(before, after)
    changed = [float(a.score != b.score) for a, b in zip(before, after, strict=True)]
    return Flips(
        flips=found.count,
        items=found.items,
        percent=ratio_interval(100 * np.array(changed), np.ones(len(changed))),
        to_wrong=len(found.to_wrong),
        to_right=len(found.to_right),
        accuracy_percent=100 * found.right_after / found.items,
        reference_accuracy_percent=100 * found.right_before / found.items,
    )


def results_of(
    artifact: Artifact, suites: Suites, work: WorkFolder, progress: Progress | None = None
) -> dict[str, EvalResult]:
    """What each suite found for one artifact."""
    return {name: result_of(name, artifact, suites, work, progress) for name in suites.all_names}


def result_of(
    name: str, artifact: Artifact, suites: Suites, work: WorkFolder, progress: Progress | None
) -> EvalResult:  # fmt: skip
    def make(folder: Path) -> None:
        options = SuiteOptions(concurrency=suites.options.sequences)
        judge = suites.judge if name == JUDGED else None
        asked = Asked(str(artifact.path), options=suites.options)
        result = evaluate(Evaluation(name, asked, options, judge, suites.limit), work, progress)
        write_text(folder / RESULT, result.model_dump_json())

    settings: dict[str, Any] = {"suite": name, "limit": suites.limit, "context_tokens": suites.options.context_tokens}
    if name == JUDGED and suites.judge is not None:  # which alone knows its prompts; `change` looks at them
        settings["judge"] = [suites.judge.place, suites.judge.name]
    else:
        settings["digests"] = list(make_suite(name, SuiteOptions()).digests())
    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    made = work.step("ladder-eval", {"artifact": artifact.digest}, settings, versions, make)
    return EvalResult.model_validate_json((made.folder / RESULT).read_text(encoding="utf-8"))


def scores_of(own: Mapping[str, EvalResult], base: Mapping[str, EvalResult] | None = None) -> dict[str, LadderScore]:
    """By suite; with the results of the base artifact also the change to it."""
    return {
        name: LadderScore(
            score=result.score, scale=result.scale, protocol=result.protocol, items=result.items, failed=result.failed,
            unscored=result.unscored, change=change(base[name], result) if base is not None else None,
        )
        for name, result in own.items()
    }  # fmt: skip


def change(before: EvalResult, after: EvalResult) -> Interval | None:
    """after − before of the mean score, over what has a score in both, resampling items; None where nothing has.

    Raises UsageError where the two were not asked the same by the same judge: what stood in the work folder is then of
    another day's judge.
    """
    for part in ("items_sha256", "protocol_sha256", "judge"):
        if getattr(before, part) != getattr(after, part):
            raise UsageError(
                f"the {before.suite} results of this ladder differ in {part}, so they are not of one measurement; "
                "remove the old ones with `edgellm clean --older-than 0`, and run again"
            )
    first, second = ({(r.id, r.repeat, r.turn): r.score for r in result.records} for result in (before, after))
    sums: dict[str, list[float]] = {}
    for key, value in second.items():
        was = first.get(key)
        if value is not None and was is not None:
            total = sums.setdefault(key[0], [0.0, 0.0])
            total[0] += value - was
            total[1] += 1
    if not sums:
        return None
    table = np.array(list(sums.values()))
    return ratio_interval(table[:, 0], table[:, 1])
