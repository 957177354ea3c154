"""The suite `choice`: multiple-choice questions of a file, by likelihood or by what the model writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from edgellm.errors import UsageError
from edgellm.evals.choice.answers import Answer, read_answers
from edgellm.evals.choice.files import read_with_rest
from edgellm.evals.choice.generation import asked, scored_answer, written_record
from edgellm.evals.choice.items import OWN_ITEMS, ChoiceItem, items_digest
from edgellm.evals.choice.likelihood import MAIN, Lengths, chosen_by, scored
from edgellm.evals.choice.prompts import WORDING, Examples, chat_prompt, likelihood_prompt
from edgellm.evals.model import Model
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import by_category, mean_score
from edgellm.records.evals import ItemRecord
from edgellm.store import digest

RULES = 1  # raised when what is read out of an answer, or how it is scored, changes
MAX_TOKENS = 1024
OURS = (
    "the items are edgellm's own 100, made to see answers flip between a quantization and its original; they are too "
    "few and too easy to rank models: give --items for that"
)
FLIPPED_BY = "right and wrong are by the likelihood per character (acc_norm of lm-evaluation-harness)"


class Choice:
    """Takes `items`, `mode`, `shots` and `seed`; the seed draws the examples."""

    name = "choice"

    def __init__(self, options: SuiteOptions) -> None:
        """Raises BadInput for items that cannot be read, UsageError for options that mean nothing here."""
        options.refuse(
            self.name, ["protocol", "judge", "judge_prompts", "references", "repeats", "lengths", "quirks", "cache"]
        )
        self.mode = options.mode or "likelihood"
        self.seed = options.seed
        self._path = options.items or OWN_ITEMS
        self.items, self.rest = read_with_rest(self._path)
        self.examples = Examples(self.items, options.shots or 0, options.seed)
        self.protocol = f"{self.mode}-{self.examples.count}-shot"

    def digests(self) -> tuple[str, str]:
        """As `Suite.digests`. The examples are part of the protocol: other ones would be another test."""
        shots = [shot.id for shot in self.examples.drawn]
        return items_digest(self.items), digest.of_value([self.protocol, WORDING, RULES, MAIN, MAX_TOKENS, shots])

    def run(self, run: Run) -> Outcome:
        items = run.limited(self.items)
        way = self._likelihood_job if self.mode == "likelihood" else self._generation_job
        jobs = {f"{self.mode} {item.id}": partial(way, run.model, item) for item in items}
        found = run.each(jobs, "questions")
        notes = [OURS] if self._path == OWN_ITEMS else []
        if self.rest:
            notes.append(
                f"{len(self.rest)} questions with pictures, numbers or several answers were left out; `--suite exam` "
                "scores them"
            )
        pairs = list(zip(items, found.values(), strict=True))
        if self.mode == "likelihood":
            return likelihood_outcome([self._likely_record(*pair) for pair in pairs], [FLIPPED_BY, *notes])
        return written_outcome([written_record(i, self.examples.of(i), said) for i, said in pairs], notes)

    def _likelihood_job(self, model: Model, item: ChoiceItem) -> dict[str, Any]:
        began = time.perf_counter()
        found = scored(model, item, self.examples.of(item))
        return {"choices": [asdict(one) for one in found], "seconds": time.perf_counter() - began}

    def _generation_job(self, model: Model, item: ChoiceItem) -> dict[str, Any]:
        return asked(model, chat_prompt(item, self.examples.of(item)), MAX_TOKENS)

    def _likely_record(self, item: ChoiceItem, found: dict[str, Any]) -> ItemRecord:
        lengths = [Lengths(**one) for one in found["choices"]]
        ways = chosen_by(lengths)
        return ItemRecord(
            id=item.id,
            category=item.category,
            prompt=likelihood_prompt(item, self.examples.of(item)),
            answer=item.choices[ways[MAIN]],
            score=float(ways[MAIN] == item.answer),
            seconds=found["seconds"],
            detail={"chosen": ways[MAIN], "right": item.answer, "by": ways, "nats": [one.nats for one in lengths]},
        )


def likelihood_outcome(records: Sequence[ItemRecord], notes: Sequence[str]) -> Outcome:
    measures = {}
    for way in ("raw", "token", "byte", "character"):
        right = [record.detail["by"][way] == record.detail["right"] for record in records]
        measures[f"accuracy_{way}"] = sum(right) / len(right)
    return outcome(records, measures, notes)


def written_outcome(records: Sequence[ItemRecord], notes: Sequence[str]) -> Outcome:
    unread = sum(record.status == "ok" and record.detail.get("chosen") is None for record in records)
    return outcome(records, {"answers_without_a_choice": float(unread)}, notes)


def outcome(records: Sequence[ItemRecord], measures: dict[str, float], notes: Sequence[str]) -> Outcome:
    values = [record.score for record in records if record.score is not None]
    return Outcome(
        records=records,
        score=mean_score(values) if values else None,
        categories=by_category(record for record in records if record.category),
        items=len(records),
        measures=measures,
        notes=notes,
    )


def score_file(answers: Path, items: Path) -> Outcome:
    """Score answers that were given already; see `answers` for what their file looks like.

    An answer is a label or words to read one from, or, as a JSON number, an index from 0. Items without an answer
    count as wrong, and empty. Raises BadInput naming the line of a file.
    """
    asked_items, rest = read_with_rest(items)
    given = read_answers(answers, {item.id for item in asked_items} | set(rest))
    records = [answered_record(item, given.get(item.id)) for item in asked_items]
    missing = sum(item.id not in given for item in asked_items)
    if missing == len(asked_items):
        raise UsageError(f"{answers} answers none of the questions with one right answer of {items}; try --suite exam")
    notes = [f"{missing} items have no answer in the file and count as wrong"] if missing else []
    return written_outcome(records, notes)


def answered_record(item: ChoiceItem, answer: Answer | None) -> ItemRecord:
    if answer is None:
        return scored_answer(item, "").model_copy(update={"reason": "the file has no answer to it"})
    if answer.index is None:
        return scored_answer(item, ", ".join(answer.given) if answer.given is not None else answer.text)
    detail = {"chosen": answer.index, "right": item.answer}
    right = float(answer.index == item.answer)
    return scored_answer(item, answer.words or str(answer.index)).model_copy(
        update={"score": right, "status": "ok", "reason": "", "detail": detail}
    )
