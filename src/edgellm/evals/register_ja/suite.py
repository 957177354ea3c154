"""The suite `register`: forty prompts of ours, and what in the answers is not as Japanese should be.

Nothing says whether an answer is good. The score is the share of answers in which no fault was found; where it falls
from an original to a quantization, or a fault appears that the original has not, the quantization broke something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgellm.evals.choice.generation import asked as answer_of
from edgellm.evals.options import SuiteOptions
from edgellm.evals.register_ja.faults import DETECTORS, LEAST_JAPANESE, Asked, faults, figures
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import by_category, is_refusal, mean_score
from edgellm.records.evals import ItemRecord
from edgellm.store import digest

PROMPTS = Path(__file__).resolve().parent / "data" / "prompts.jsonl"
RULES = 1  # raised when a detector or a bound changes
MAX_TOKENS = 1024
OPTIONS_WITHOUT_SENSE = (
    "items", "protocol", "judge", "judge_prompts", "references", "repeats", "mode", "shots", "lengths", "quirks",
    "cache",
)  # fmt: skip


def own_prompts() -> list[Asked]:
    lines = PROMPTS.read_text(encoding="utf-8").split("\n")
    return [Asked(**json.loads(line)) for line in lines if line]


class RegisterJa:
    """Takes no options of its own. Answers are greedy, so that two models differ by what they are alone."""

    name = "register"
    protocol = "edgellm"

    def __init__(self, options: SuiteOptions) -> None:
        """Raises UsageError for options that mean nothing here."""
        options.refuse(self.name, OPTIONS_WITHOUT_SENSE)
        self.prompts = own_prompts()

    def digests(self) -> tuple[str, str]:
        items = digest.of_value([vars(prompt) for prompt in self.prompts])
        return items, digest.of_value([RULES, list(DETECTORS), LEAST_JAPANESE, MAX_TOKENS])

    def run(self, run: Run) -> Outcome:
        prompts = run.limited(self.prompts)
        jobs = {one.id: partial(answer_of, run.model, one.prompt, MAX_TOKENS) for one in prompts}
        said = run.each(jobs, "answers")
        return outcome([record_of(one, said[one.id]) for one in prompts])


def record_of(asked: Asked, said: Mapping[str, Any]) -> ItemRecord:
    answer = said["answer"]
    record = ItemRecord(
        id=asked.id,
        category=asked.category,
        prompt=asked.prompt,
        prompt_tokens=said["prompt_tokens"],
        answer=answer,
        reasoning_characters=said["reasoning_characters"],
        seconds=said["seconds"],
        score=0.0,
        detail={"cut_at_limit": said["finish_reason"] == "length"},
    )
    if not answer.strip():
        return record.model_copy(update={"status": "empty", "reason": "the model said nothing"})
    if is_refusal(answer):
        return record.model_copy(update={"status": "refused", "reason": "the model declined to answer"})
    found = faults(answer, asked)
    detail = {**record.detail, "faults": found, "figures": figures(answer)}
    return record.model_copy(update={"score": float(not found), "reason": ", ".join(found), "detail": detail})


def outcome(records: Sequence[ItemRecord]) -> Outcome:
    """Measures: for each fault the percentage of answers that have it, for each figure its mean, both over the answers
    that say something, with the ends of their 95 % intervals under `…_low` and `…_high`."""
    said = [record for record in records if record.status == "ok"]
    measures: dict[str, float] = {}
    for name in DETECTORS if said else ():
        measures |= interval(f"{name}_percent", [100.0 * (name in record.detail["faults"]) for record in said])
    for name in said[0].detail["figures"] if said else ():
        measures |= interval(f"mean_{name}", [record.detail["figures"][name] for record in said])
    if said:
        measures |= interval("cut_at_limit_percent", [100.0 * record.detail["cut_at_limit"] for record in said])
    return Outcome(
        records=records,
        score=mean_score([record.score or 0.0 for record in records]),
        categories=by_category(records),
        items=len(records),
        measures=measures,
        notes=["the score is the share of answers without a fault that rules can find; whether they are good it does "
               "not say"],
    )  # fmt: skip


def interval(name: str, values: Sequence[float]) -> dict[str, float]:
    found = mean_score(values)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
