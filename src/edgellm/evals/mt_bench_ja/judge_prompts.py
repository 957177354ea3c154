"""What a judge is asked: our prompts, or those of a published file, with a question's texts put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.files import JudgePrompt, read_judge_prompts
from edgellm.store import digest

DATA = Path(__file__).with_name("data")
OURS = DATA / "judge_prompts.jsonl"
WHOSE_OURS = "edgellm"
NAMES = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
REORDERED = "-reordered"
ANSWER_SYSTEM = "answer-system"  # the system prompt of the model that answers, where a protocol gives it one
PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


@dataclass(frozen=True)
class Conversation:
    """One answer that is judged: a question up to `turn`, with the answers so far, and references, if any."""

    question: str  # id
    category: str
    questions: Sequence[str]
    answers: Sequence[str]
    references: Sequence[str] = ()  # one a turn; () for a judgment without a reference

    @property
    def turn(self) -> int:
        return len(self.answers)


@dataclass(frozen=True)
class Asking:
    """What the judge gets, and the name of its template."""

    name: str
    system: str
    text: str


@dataclass(frozen=True)
class JudgePrompts:
    whose: str  # `edgellm`, or the name of the published file
    prompts: Mapping[str, JudgePrompt]

    @cached_property
    def sha256(self) -> str:
        return digest.of_value({name: asdict(prompt) for name, prompt in self.prompts.items()})

    @property
    def can_reorder(self) -> bool:
        return all(f"{name}{REORDERED}" in self.prompts for name in NAMES)

    @property
    def answer_system(self) -> str:
        """Our own where the file has none."""
        found = self.prompts.get(ANSWER_SYSTEM) or ours().prompts[ANSWER_SYSTEM]
        return found.system

    def asking(self, judged: Conversation, *, structured: bool = False, reordered: bool = False) -> Asking:
        """Raises BadInput for a template with a place for something that there is not."""
        name = prompt_name(judged.turn, with_reference=bool(judged.references)) + (REORDERED if reordered else "")
        template = self.prompts[name]
        form = self.prompts.get("format-json" if structured else "format-text")
        values = values_of(judged) | {"answer_format": form.template if form else ""}
        return Asking(name, template.system, filled(template.template, values, f"{self.whose}, prompt {name}"))


def prompt_name(turn: int, *, with_reference: bool) -> str:
    return ("single-math-v1" if with_reference else "single-v1") + ("-multi-turn" if turn > 1 else "")


def values_of(judged: Conversation) -> dict[str, str]:
    """What templates have places for, by FastChat's names."""
    values = {f"ref_answer_{turn}": text for turn, text in enumerate(judged.references, 1)}
    if judged.turn == 1:
        return values | {"question": judged.questions[0], "answer": judged.answers[0]}
    values |= {f"question_{turn}": text for turn, text in enumerate(judged.questions[: judged.turn], 1)}
    return values | {f"answer_{turn}": text for turn, text in enumerate(judged.answers, 1)}


def filled(template: str, values: Mapping[str, str], where: str) -> str:
    """`template` with each `{name}` replaced, in one pass: braces in questions and answers stay what they are."""

    def put(place: re.Match[str]) -> str:
        name = place.group(1)
        if name is None:
            return place.group(0)[0]  # {{ and }} stand for braces
        if name not in values:
            raise BadInput(f"{where} has a place for {{{name}}}, which there is not; there are {', '.join(values)}")
        return values[name]

    return PLACE.sub(put, template)


def load_judge_prompts(path: Path | None) -> JudgePrompts:
    """Ours, or those of a file as FastChat has them; raises BadInput where one of the four for single answers is
    missing."""
    if path is None:
        return ours()
    prompts = read_judge_prompts(path)
    if missing := [name for name in NAMES if name not in prompts]:
        raise BadInput(f"{path} lacks the judge prompt {missing[0]}; it must have {', '.join(NAMES)}")
    return JudgePrompts(path.name, prompts)


def ours() -> JudgePrompts:
    return JudgePrompts(WHOSE_OURS, read_judge_prompts(OURS))
