"""The suite `mt-bench-ja`: questions in two turns, answered by a model, marked by a judge, counted by a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgellm.errors import UsageError
from edgellm.evals.judge import FAILED_CALL, Judge
from edgellm.evals.mt_bench_ja.answers import Answer, Asker, Place, as_files_have_them
from edgellm.evals.mt_bench_ja.files import Question, write_answers, write_judgments
from edgellm.evals.mt_bench_ja.judge_prompts import WHOSE_OURS, load_judge_prompts
from edgellm.evals.mt_bench_ja.judging import Marker, Verdict, as_judged, conversations_of, lines_of
from edgellm.evals.mt_bench_ja.protocols import EDGELLM, protocol_named
from edgellm.evals.mt_bench_ja.questions import for_protocol, load_questions
from edgellm.evals.mt_bench_ja.tally import measures_of, scores_of
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.scoring import is_refusal
from edgellm.records.evals import ItemRecord, ItemStatus
from edgellm.store import digest

VERSION = 1  # of how questions are asked and counted here


class MtBenchJa:
    name = "mt-bench-ja"

    def __init__(self, options: SuiteOptions) -> None:
        """Raises UsageError without a judge and for options that mean nothing here, BadInput for files that cannot be
        used."""
        options.refuse(self.name, ("mode", "shots", "lengths"))
        if options.judge is None:
            raise UsageError(
                "mt-bench-ja needs a judge; name one with --judge, or run --suite judge-free for the questions that "
                "programs can check"
            )
        self._options = options
        self._judge: Judge = options.judge
        self._protocol = protocol_named(options.protocol, repeats=options.repeats, quirks=options.quirks)
        self._prompts = load_judge_prompts(options.judge_prompts)
        self._questions = for_protocol(load_questions(options.items, options.references), self._protocol)
        self._judge.remember_in(options.cache)

    @property
    def protocol(self) -> str:
        return self._protocol.name

    def digests(self) -> tuple[str, str]:
        """Of the questions; and of references, judge prompts, the protocol's facts and the quirks."""
        items = [[question.id, question.category, *question.turns] for question in self._questions]
        rules = {
            "version": VERSION, "protocol": self._protocol.facts(), "quirks": self._options.quirks,
            "prompts": self._prompts.sha256, "references": [question.references for question in self._questions],
        }  # fmt: skip
        return digest.of_value(items), digest.of_value(rules)

    def run(self, run: Run) -> Outcome:
        questions = list(run.limited(self._questions))
        structured = self._protocol.schema is not None and self._judge.can_structure()  # first: is the judge there?
        system = self._prompts.answer_system if self._protocol.system_prompt else ""
        answers = Asker(run, self._protocol, system, quirks=self._options.quirks).all(questions)
        marker = Marker(run, self._judge, self._prompts, self._protocol, structured=structured)
        conversations = conversations_of(questions, answers)
        given = marker.all(conversations)
        reordered = marker.in_another_order(conversations, given)
        verdicts = {place: given.get(place) or no_verdict(answer) for place, answer in answers.items()}
        statuses = {place: status_of(answers[place], verdict) for place, verdict in verdicts.items()}
        judged = as_judged(verdicts, statuses, questions, run.model.name, self._judge.name)
        if self._options.answer_file:
            write_answers(self._options.answer_file, as_files_have_them(answers, run.model.name))
        if self._options.judgment_file:
            asked = [
                [marker.asking(conversations[place]).text if verdicts[place].prompt else "" for place in places]
                for places in lines_of(verdicts).values()
            ]
            write_judgments(self._options.judgment_file, judged, asked)
        score, categories = scores_of(judged, self._protocol, self._options.quirks)
        return Outcome(
            records=records_of(questions, answers, verdicts, statuses, reordered), score=score, categories=categories,
            items=len(questions), scale=self._protocol.scale,
            measures=measures_of(judged, self._protocol, self._options.quirks, order_changes(given, reordered)),
            judge=self._judge.fingerprint(self._prompts.whose, self._prompts.sha256, structured=structured),
            notes=self._notes(structured),
        )  # fmt: skip

    def _notes(self, structured: bool) -> list[str]:
        notes = []
        if self._protocol.name != EDGELLM.name and self._prompts.whose == WHOSE_OURS:
            notes.append(
                f"sampling and counting are those of {self._protocol.source}, but the judge prompts are edgellm's: "
                "scores cannot be held against published ones; bring the published prompts with --judge-prompts"
            )
        if self._protocol.system_prompt and self._prompts.whose == WHOSE_OURS:
            notes.append("the model's system prompt is edgellm's, not the one that the protocol publishes")
        if self._options.items is None and self._protocol.name != EDGELLM.name:
            notes.append("the questions are edgellm's, not the published ones; bring those with --items")
        if self._protocol.schema is not None and not structured:
            notes.append("the judge cannot be held to a JSON schema; its scores are read from its text")
        if self._protocol.order_check and not self._prompts.can_reorder:
            notes.append("the judge prompts of the file have no second order, so the order check was left out")
        return notes


def no_verdict(answer: Answer) -> Verdict:
    """On an answer that there is not."""
    return Verdict(None, text=FAILED_CALL, error=f"the model gave no answer: {answer.error}")


def status_of(answer: Answer, verdict: Verdict) -> ItemStatus:
    if verdict.score is None:
        return "failed"
    if not answer.text.strip():
        return "empty"
    return "refused" if is_refusal(answer.text) else "ok"


def order_changes(given: Mapping[Place, Verdict], reordered: Mapping[Place, Verdict]) -> list[float]:
    """By how many points each score that was asked for again in another order changed."""
    pairs = ((given[place].score, again.score) for place, again in reordered.items())
    return [abs(first - second) for first, second in pairs if first is not None and second is not None]


def records_of(
    questions: Sequence[Question], answers: Mapping[Place, Answer], verdicts: Mapping[Place, Verdict],
    statuses: Mapping[Place, ItemStatus], reordered: Mapping[Place, Verdict],
) -> list[ItemRecord]:  # fmt: skip
    """One a turn of each of N answers, in the order of the questions."""
    found = []
    for question in questions:
        for place in sorted(place for place in answers if place[0] == question.id):
            answer, verdict = answers[place], verdicts[place]
            found.append(
                ItemRecord(
                    id=question.id, category=question.category, repeat=place[1], turn=place[2],
                    prompt=question.turns[place[2] - 1], prompt_tokens=answer.prompt_tokens, answer=answer.text,
                    reasoning_characters=answer.reasoning_characters, seconds=answer.seconds, score=verdict.score,
                    status=statuses[place], reason=verdict.error or reason_of(verdict),
                    detail=detail_of(answer, verdict, reordered.get(place)),
                )
            )  # fmt: skip
    return found


def reason_of(verdict: Verdict) -> str:
    return "" if verdict.score is not None else "the judgment holds no score that the protocol knows"


def detail_of(answer: Answer, verdict: Verdict, reordered: Verdict | None) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "judgment": verdict.text, "judge_prompt": verdict.prompt, "attempts": verdict.attempts,
        "judge_seconds": verdict.seconds, "finish_reason": answer.finish_reason,
        "completion_tokens": answer.completion_tokens,
    }  # fmt: skip
    if reordered is not None:
        detail |= {"reordered_score": reordered.score, "reordered_judgment": reordered.text}
    return detail
