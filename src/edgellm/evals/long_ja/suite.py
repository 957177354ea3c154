"""The suite `long-ja`: needles and sums in Japanese text of 4K to 64K tokens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from edgellm.errors import UsageError
from edgellm.evals.checkers.numbers import check_number
from edgellm.evals.long_ja import prose, tasks
from edgellm.evals.long_ja.documents import INSTRUCTION, QUESTION, Case, Document, Measure, cases, written
from edgellm.evals.long_ja.measuring import check_lengths, yardstick
from edgellm.evals.model import Model
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import by_category, is_refusal, mean_score
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.records.evals import ItemRecord
from edgellm.store import digest

DEFAULT_LENGTHS = (4096,)  # what any model holds; longer ones by --lengths, for they take their time
SHORTEST = 512
MAX_TOKENS = 2048  # for models that think; the answer itself is a number
OPTIONS_WITHOUT_SENSE = (
    "items", "protocol", "judge", "judge_prompts", "references", "repeats", "mode", "shots", "quirks", "cache",
)  # fmt: skip
KEPT = frozenset(
    ("value", "unit", "needles", "document_sha256", "document_characters", "prompt_characters", "measured_tokens")
)
GREEDY = SamplingOptions(temperature=0.0, top_p=1.0)


class LongJa:
    """Takes `lengths` (tokens of prompt and answer) and `seed`, which draws the texts."""

    name = "long-ja"
    protocol = "edgellm"

    def __init__(self, options: SuiteOptions) -> None:
        """Raises UsageError for lengths that are too short and options that mean nothing here."""
        options.refuse(self.name, OPTIONS_WITHOUT_SENSE)
        self.lengths = options.lengths or DEFAULT_LENGTHS
        self.seed = options.seed
        if short := [length for length in self.lengths if length < SHORTEST]:
            raise UsageError(f"--lengths {short[0]} is too short for a text with needles; give {SHORTEST} or more")
        self._documents: dict[str, str] = {}  # digests of the prompts that were made, by item

    def digests(self) -> tuple[str, str]:
        """As `Suite.digests`. Once the suite has run, the items are the very documents: models with other tokenizers
        are asked other ones for the same number of tokens, and are then not compared item by item."""
        drawn = [list(self.lengths), self.seed, prose.VERSION, tasks.VERSION, self._documents]
        return digest.of_value(drawn), digest.of_value([INSTRUCTION, QUESTION, MAX_TOKENS])

    def run(self, run: Run) -> Outcome:
        stick = yardstick(run.model)
        check_lengths(self.lengths, stick)
        chosen = run.limited(cases(self.lengths))
        jobs = {case.id: partial(self._answered, run.model, case, stick.measure) for case in chosen}
        found = run.each(jobs, "long texts")
        self._documents = {case.id: found[case.id]["document_sha256"] for case in chosen}
        records = [record_of(case, found[case.id]) for case in chosen]
        return outcome(records, f"lengths are measured by {stick.how}")

    def _answered(self, model: Model, case: Case, measure: Measure) -> dict[str, Any]:
        """Documents are written one at a time: all of them together would fill the memory."""
        document = written(case, self.seed, measure)
        began = time.perf_counter()
        reply = model.reply([Message("user", document.prompt)], GREEDY, MAX_TOKENS)
        return facts(document) | {
            "answer": reply.content,
            "reasoning_characters": len(reply.reasoning),
            "prompt_tokens": reply.prompt_tokens,
            "seconds": time.perf_counter() - began,
        }


def facts(document: Document) -> dict[str, Any]:
    """What is kept of a document: it can be written again from the seed."""
    return {
        "question": document.puzzle.question,
        "value": document.puzzle.value,
        "unit": document.puzzle.unit,
        "needles": [needle.text for needle in document.puzzle.needles],
        "document_sha256": digest.of_value(document.prompt),
        "document_characters": len(document.text),
        "prompt_characters": len(document.prompt),
        "measured_tokens": document.tokens,
    }


def record_of(case: Case, found: dict[str, Any]) -> ItemRecord:
    """Right or wrong by the number that the answer states."""
    answer = found["answer"]
    kept = [key for key in found if key in KEPT]
    record = ItemRecord(
        id=case.id,
        category=case.task,
        prompt=found["question"],
        prompt_tokens=found["prompt_tokens"],
        answer=answer,
        reasoning_characters=found["reasoning_characters"],
        seconds=found["seconds"],
        score=0.0,
        detail={"length": case.length, "depth_percent": case.depth} | {key: found[key] for key in kept},
    )
    if not answer.strip():
        return record.model_copy(update={"status": "empty", "reason": "the model said nothing"})
    checked = check_number({"value": str(found["value"]), "unit": found["unit"]}, answer)
    if not checked.score and is_refusal(answer):
        return record.model_copy(update={"status": "refused", "reason": "the model declined to answer"})
    return record.model_copy(update={"score": checked.score, "reason": checked.reason})


def outcome(records: Sequence[ItemRecord], note: str) -> Outcome:
    """Categories are the tasks and, as `4,096 tokens`, the lengths; depths are in the measures."""
    lengths = [record.model_copy(update={"category": f"{record.detail['length']} tokens"}) for record in records]
    scores = [record.score or 0.0 for record in records]
    measures = {}
    for depth in tasks.DEPTHS:
        own = [record.score or 0.0 for record in records if record.detail["depth_percent"] == depth]
        if own:
            measures[f"accuracy_at_depth_{depth}_percent"] = sum(own) / len(own)
    ratio = sum(r.detail["prompt_characters"] for r in records) / sum(r.detail["measured_tokens"] for r in records)
    return Outcome(
        records=records,
        score=mean_score(scores),
        categories=by_category(lengths) | by_category(records),
        items=len(records),
        measures=measures | {"characters_per_token": ratio},
        notes=[f"{note}; the texts have {ratio:.2f} characters a token"],
    )
