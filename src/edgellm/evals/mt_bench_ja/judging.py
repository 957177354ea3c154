"""Marks for answers, one by one, and how far they hang on the order in which the judge is shown things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from edgellm.evals.judge import Judge, Judgment
from edgellm.evals.mt_bench_ja.answers import Answer, Place
from edgellm.evals.mt_bench_ja.files import NO_SCORE, Judged, Question
from edgellm.evals.mt_bench_ja.judge_prompts import Asking, Conversation, JudgePrompts
from edgellm.evals.mt_bench_ja.protocols import Protocol
from edgellm.evals.run import Run

ORDER = "order"


@dataclass(frozen=True)
class Verdict:
    """What came of judging one answer. `score` is None where the judge gave none that the protocol knows."""

    score: float | None
    prompt: str = ""  # name of the judge prompt; "" where the judge was not asked
    text: str = ""  # the judgment; FAILED_CALL where there is none
    error: str = ""
    broke_off: bool = False  # the judge failed, and may answer later
    attempts: int = 0
    seconds: float = 0.0


class Marker:
    """Asks the judge about every answer of a run."""

    def __init__(self, run: Run, judge: Judge, prompts: JudgePrompts, protocol: Protocol, *, structured: bool) -> None:
        """`structured`: the judge can be held to the protocol's schema, and is."""
        self._run = run
        self._judge = judge
        self._prompts = prompts
        self._protocol = protocol
        self._structured = structured

    def all(self, conversations: Mapping[Place, Conversation]) -> dict[Place, Verdict]:
        """What broke off is asked for once more when all else is judged, or when a run that ended so is taken up."""
        found = self._each(conversations, "judging")
        broken = {place: conversations[place] for place, verdict in found.items() if verdict.broke_off}
        return found | self._each(broken, "judging again", "again") if broken else found

    def in_another_order(
        self, conversations: Mapping[Place, Conversation], verdicts: Mapping[Place, Verdict]
    ) -> dict[Place, Verdict]:
        """Further verdicts on a fixed share of what the judge was asked and gave a score for: one in `order_check`,
        the first among them."""
        share = self._protocol.order_check
        if not share or not self._prompts.can_reorder:
            return {}
        scored = [place for place, verdict in verdicts.items() if verdict.prompt and verdict.score is not None]
        return self._each({place: conversations[place] for place in scored[::share]}, "judging in another order", ORDER)

    def asking(self, conversation: Conversation, *, reordered: bool = False) -> Asking:
        return self._prompts.asking(conversation, structured=self._structured, reordered=reordered)

    def _each(
        self, conversations: Mapping[Place, Conversation], label: str, kind: str = "judgment"
    ) -> dict[Place, Verdict]:
        """`kind` begins the jobs' keys in the journal. They name the judge: what another one said is not taken over."""
        who = self._judge.identity.removeprefix("sha256:")[:12]
        places = {f"{kind}/{who}/{repeat}/{turn}/{own}": (own, repeat, turn) for own, repeat, turn in conversations}
        jobs = {
            key: partial(self._job, conversations[place], place[1], reordered=kind == ORDER)
            for key, place in places.items()
        }  # fmt: skip
        return {places[key]: Verdict(**value) for key, value in self._run.each(jobs, label).items()}

    def _job(self, conversation: Conversation, repeat: int, *, reordered: bool) -> dict[str, Any]:
        return asdict(self._verdict(conversation, repeat, reordered))

    def _verdict(self, conversation: Conversation, repeat: int, reordered: bool) -> Verdict:
        if self._protocol.lowest_for_empty and not conversation.answers[-1].strip():
            return Verdict(self._protocol.lowest)
        asking = self.asking(conversation, reordered=reordered)
        seconds = 0.0
        for attempt in range(1 + self._protocol.again):
            said = self._judge.ask(
                asking.system, asking.text, schema=self._protocol.schema if self._structured else None,
                max_tokens=self._protocol.judge_max_tokens, draw=repeat, attempt=attempt,
            )  # fmt: skip
            seconds += said.seconds
            score = self._score(said)
            if score is not None or said.broke_off:
                break
        return Verdict(score, asking.name, said.text, said.error, said.broke_off, attempt + 1, seconds)

    def _score(self, said: Judgment) -> float | None:
        if said.failed:
            return None
        return self._protocol.read_structured(said.text) if self._structured else self._protocol.read(said.text)


def conversations_of(questions: Sequence[Question], answers: Mapping[Place, Answer]) -> dict[Place, Conversation]:
    """What there is to judge: each answered turn, with the earlier turns of the same of N."""
    found = {}
    by_id = {question.id: question for question in questions}
    for (own, repeat, turn), answer in answers.items():
        if answer.error:
            continue
        question = by_id[own]
        said = [answers[own, repeat, earlier].text for earlier in range(1, turn + 1)]
        found[own, repeat, turn] = Conversation(
            own, question.category, question.turns[:turn], said, question.references[:turn]
        )
    return found


def as_judged(
    verdicts: Mapping[Place, Verdict], statuses: Mapping[Place, str], questions: Sequence[Question], model: str,
    judge: str,
) -> list[Judged]:  # fmt: skip
    """One a turn of each question, with its N judgments: what the counting takes, and what is written to files."""
    categories = {question.id: question.category for question in questions}
    found = []
    for (question, turn), places in lines_of(verdicts).items():
        own = [verdicts[place] for place in places]
        prompt = next((verdict.prompt for verdict in own if verdict.prompt), "")
        found.append(
            Judged(
                question, model, turn, prompt,
                tuple(NO_SCORE if verdict.score is None else verdict.score for verdict in own),
                tuple(verdict.text for verdict in own), categories[question],
                tuple(statuses[place] for place in places), judge,
            )
        )  # fmt: skip
    return found


def lines_of(places: Iterable[Place]) -> dict[tuple[str, int], list[Place]]:
    """(question, turn) of each line of a judgment file, with the places of its N judgments."""
    lines: dict[tuple[str, int], list[Place]] = {}
    for place in sorted(places, key=lambda place: place[1]):
        lines.setdefault((place[0], place[2]), []).append(place)
    return lines
