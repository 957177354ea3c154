"""Documents of a given length, with needles at given depths."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edgellm.errors import UsageError
from edgellm.evals.long_ja.prose import passages
from edgellm.evals.long_ja.tasks import AT_DEPTHS, DEPTHS, WHOLE_TEXT, Puzzle

Measure = Callable[[str], int]  # the tokens of a text, exact or estimated

INSTRUCTION = "次の文書を読み、最後の質問に答えてください。\n\n【文書】\n"
QUESTION = (
    "\n\n【質問】\n{question}\n"
    "文書に書かれていることだけを使い、答えの数字だけを書いてください。説明は書かないでください。"
)
ROOM_FOR_ANSWER = 512  # tokens at most, an eighth of short texts: for the template's own words and the answer
NEEDLE_TOKENS = 60  # more than any has; decides how many find room in a short text
SHARE_OF_NEEDLES = 0.3  # the most that needles may take of a text


@dataclass(frozen=True)
class Case:
    """One question about one document of about `length` tokens, all told."""

    length: int
    task: str
    depth: int | None  # percent; None where the needles are spread over the whole text

    @property
    def id(self) -> str:
        return f"{self.length}-{self.task}" + ("" if self.depth is None else f"-{self.depth}")


@dataclass(frozen=True)
class Document:
    case: Case
    puzzle: Puzzle
    text: str
    prompt: str
    tokens: int  # of the prompt, as it was measured


def cases(lengths: tuple[int, ...]) -> list[Case]:
    """All cases; the first of each length are of different tasks, so that a limit leaves some of each."""
    found = []
    for length in lengths:
        for i, depth in enumerate(DEPTHS):
            found += [Case(length, task, depth) for task in AT_DEPTHS]
            if i < len(WHOLE_TEXT):
                found.append(Case(length, list(WHOLE_TEXT)[i], None))
    return found


def written(case: Case, seed: int, measure: Measure) -> Document:
    """The document of a case: the same for the same seed and the same measure.

    Passages are added until the prompt and the room for an answer fill the length; the needles then stand between
    passages, the first at depth 0 and the last at 100. Raises UsageError where not even the needles find room.
    """
    name = f"{seed} {case.id}"
    makers = {**AT_DEPTHS, **WHOLE_TEXT}
    room = max(2, int(case.length * SHARE_OF_NEEDLES) // NEEDLE_TOKENS)
    puzzle = makers[case.task](random.Random(f"puzzle {name}"), case.depth or 0, room)
    frame = INSTRUCTION + QUESTION.format(question=puzzle.question) + "\n".join(n.text for n in puzzle.needles)
    budget = case.length - min(ROOM_FOR_ANSWER, case.length // 8) - measure(frame)
    kept: list[str] = []
    sizes: list[int] = []
    for passage in passages(name):
        size = measure(passage + "\n")
        if sum(sizes) + size > budget:
            break
        kept.append(passage)
        sizes.append(size)
    while True:  # tokens of parts are about, not exactly, those of the whole
        if not kept:
            raise UsageError(f"{case.length} tokens are too few for the task {case.task}; give a larger --lengths")
        text = "\n".join(placed(kept, puzzle))
        prompt = INSTRUCTION + text + QUESTION.format(question=puzzle.question)
        tokens = measure(prompt)
        if tokens <= case.length - min(ROOM_FOR_ANSWER, case.length // 8):
            return Document(case, puzzle, text, prompt, tokens)
        kept.pop()


def placed(kept: list[str], puzzle: Puzzle) -> list[str]:
    """Passages and needles in order; a needle of depth d stands before passage d · (number of passages)."""
    inserted = [(round(needle.depth * len(kept)), 0, i, needle.text) for i, needle in enumerate(puzzle.needles)]
    inserted += [(i, 1, 0, passage) for i, passage in enumerate(kept)]
    return [text for *_, text in sorted(inserted)]
