"""The model's answers to both turns of every question, N times, sampled as a protocol says."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgellm.errors import PromptTooLong, UsageError
from edgellm.evals.mt_bench_ja.files import Answers, Question
from edgellm.evals.mt_bench_ja.protocols import QUIRKY_CUT_CHARACTERS, Protocol
from edgellm.evals.run import Job, Run
from edgellm.inference.chat import Message, SamplingOptions

Place = tuple[str, int, int]  # question, which of N, turn from 1


@dataclass(frozen=True)
class Answer:
    """One turn's answer, without the model's thinking. `error`: why there is none."""

    text: str = ""
    error: str = ""
    reasoning_characters: int = 0
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


class Asker:
    """Asks the model of a run: all first turns, then all second turns, so that a kill costs no answered turn."""

    def __init__(self, run: Run, protocol: Protocol, system: str, *, quirks: bool) -> None:
        """`system`: the model's system prompt; "" for none. `quirks`: the faults of `protocols.QUIRKY`."""
        self._run = run
        self._protocol = protocol
        self._system = system
        self._quirks = quirks
        self._lock = threading.Lock()
        self._has_answered = False

    def all(self, questions: Sequence[Question]) -> dict[Place, Answer]:
        """By place. A second turn whose first has no answer is not asked, and has its error."""
        found: dict[Place, Answer] = {}
        for turn in range(1, self._protocol.turns + 1):
            jobs = dict(self._jobs(questions, turn, found))
            for key, value in self._run.each(jobs, f"answering turn {turn}").items():
                found[place_of(key)] = Answer(**value)
            self._complete(questions, turn, found)
        return found

    def _jobs(
        self, questions: Sequence[Question], turn: int, found: Mapping[Place, Answer]
    ) -> Iterator[tuple[str, Job]]:
        for question in questions:
            for repeat in range(self._protocol.repeats):
                if len(question.turns) < turn or (repeat and self._copied(question)):
                    continue
                before = [found[question.id, self._continued(repeat), t] for t in range(1, turn)]
                if any(answer.error for answer in before):
                    continue
                messages = messages_of(self._system, question.turns[:turn], [answer.text for answer in before])
                yield key_of((question.id, repeat, turn)), self._job(question, repeat, messages)

    def _complete(self, questions: Sequence[Question], turn: int, found: dict[Place, Answer]) -> None:
        """Put in what was not asked: copies, and turns after one that failed."""
        for question in questions:
            for repeat in range(self._protocol.repeats):
                place = question.id, repeat, turn
                if len(question.turns) < turn or place in found:
                    continue
                if self._copied(question) and repeat:
                    found[place] = found[question.id, 0, turn]
                else:
                    found[place] = replace(found[question.id, self._continued(repeat), turn - 1], text="")

    def _copied(self, question: Question) -> bool:
        """Whether N answers of this question are one answer, copied."""
        return self._quirks and self._protocol.temperature(question.category) == 0

    def _continued(self, repeat: int) -> int:
        """Whose earlier turns the answer of `repeat` continues."""
        return 0 if self._quirks else repeat

    def _job(self, question: Question, repeat: int, messages: Sequence[Message]) -> Job:
        sampling = SamplingOptions(
            temperature=self._protocol.temperature(question.category), top_p=self._protocol.top_p,
            repetition_penalty=self._protocol.repetition_penalty, seed=self._run.seed + self._protocol.seed + repeat,
        )  # fmt: skip

        def ask() -> dict[str, Any]:
            return asdict(self._asked(messages, sampling))

        return ask

    def _asked(self, messages: Sequence[Message], sampling: SamplingOptions) -> Answer:
        try:
            reply = self._run.model.reply(messages, sampling, self._protocol.max_tokens)
        except UsageError as error:
            # Too long is this question's fault; what else the very first question is refused for, every one is.
            if not isinstance(error, PromptTooLong) and not self._has_answered:
                raise
            return Answer(error=str(error))
        with self._lock:
            self._has_answered = True
        text = reply.content[:QUIRKY_CUT_CHARACTERS] if self._quirks else reply.content
        return Answer(
            text, "", len(reply.reasoning), reply.finish_reason, reply.prompt_tokens, reply.completion_tokens,
            reply.seconds,
        )  # fmt: skip


def messages_of(system: str, questions: Sequence[str], answers: Sequence[str]) -> list[Message]:
    """One question more than answers: the last is the one to answer."""
    messages = [Message("system", system)] if system else []
    for question, answer in zip(questions, answers, strict=False):
        messages += [Message("user", question), Message("assistant", answer)]
    return [*messages, Message("user", questions[len(answers)])]


def key_of(place: Place) -> str:
    """Of a job in the journal."""
    question, repeat, turn = place
    return f"answer/{repeat}/{turn}/{question}"


def place_of(key: str) -> Place:
    _, repeat, turn, question = key.split("/", 3)
    return question, int(repeat), int(turn)


def as_files_have_them(found: Mapping[Place, Answer], model: str) -> list[Answers]:
    """One line a question, with N choices."""
    by_question: dict[str, dict[int, list[str]]] = {}
    for (question, repeat, _turn), answer in sorted(found.items(), key=lambda item: item[0][1:]):
        by_question.setdefault(question, {}).setdefault(repeat, []).append(answer.text)
    order = dict.fromkeys(question for question, _, _ in found)
    return [Answers(own, model, tuple(map(tuple, by_question[own].values()))) for own in order]
