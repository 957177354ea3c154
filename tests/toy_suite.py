"""A suite of five short questions, scored by whether the answer holds a word, for tests of what runs suites."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Job, Outcome, Run
from edgellm.evals.scoring import by_category, mean_score
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.records.evals import ItemRecord
from edgellm.store import digest

QUESTIONS = [f"{n} 番目の問い" for n in range(5)]
MODULE, KIND = "toy_suite", "Toy"


class Toy:
    name = "toy"
    protocol = "toy"

    def __init__(self, options: SuiteOptions) -> None:
        options.refuse(self.name, ["shots"])
        self.judge = options.judge
        self.questions = options.items.read_text(encoding="utf-8").split("\n") if options.items else QUESTIONS

    def digests(self) -> tuple[str, str]:
        return digest.of_value(self.questions), digest.of_value("toy 1")

    def run(self, run: Run) -> Outcome:
        asked = run.limited(self.questions)
        answers = run.each({question: asking(run, question) for question in asked}, "answers")
        judged = run.each({f"judge {q}": self.judging(answers[q]["content"]) for q in asked}, "judgments")
        records = [
            ItemRecord(id=question, category=f"{n % 2}", answer=answers[question]["content"],
                       score=judged[f"judge {question}"]["score"])
            for n, question in enumerate(asked)
        ]  # fmt: skip
        score = mean_score([record.score or 0.0 for record in records])
        fingerprint = self.judge.fingerprint("edgellm", "none") if self.judge else None
        return Outcome(records, score, by_category(records), len(asked), judge=fingerprint)

    def judging(self, answer: str) -> Job:
        def do() -> dict[str, Any]:
            said = self.judge.ask("", f"「{answer}」に点を付けよ。").text if self.judge else answer
            return {"score": float("はい" in said)}

        return do


def asking(run: Run, question: str) -> Job:
    def do() -> dict[str, Any]:
        return asdict(run.model.reply([Message("user", question)], SamplingOptions(temperature=0.0), 8))

    return do
