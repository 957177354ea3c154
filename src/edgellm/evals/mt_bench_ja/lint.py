"""Rules that a set of two-turn questions keeps, with its references and checks: what `edgellm eval lint` looks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja import wording
from edgellm.evals.mt_bench_ja.files import BLOCK, JAPANESE, Row, category_of, id_of
from edgellm.evals.mt_bench_ja.judge_prompts import DATA
from edgellm.evals.mt_bench_ja.protocols import NEEDS_REFERENCE
from edgellm.store.json_lines import rows_of

SHIPPED = tuple(DATA / f"{name}.jsonl" for name in (*JAPANESE, "reference_answer", "checks"))
OWN_IDS = range(1001, 1081)  # so that a question of ours is never taken for an official one, 1 to 160
TURNS = 2
# Characters of a turn. Under the lower end nothing is asked for that an answer could miss; over the upper end question,
# answers of 1,024 tokens and a judge's prompt no longer fit into 4,096 tokens together.
LENGTHS = ((40, 1500), (20, 800))
# Jaccard's index of two questions' runs of five characters. Of the 3,160 pairs that ship the nearest has 0.13 (two that
# ask for the answer's line in the same words) and 99 % have less than 0.07; questions of ours that were written again
# with another setting, other names and another register have 0.33 to 0.61 with what they were before.
NEAR = 0.2


@dataclass(frozen=True)
class Problem:
    file: str
    line: int  # 0: the set as a whole
    question_id: str
    turn: int  # 1 or 2; 0: the question as a whole
    rule: str
    found: str

    @property
    def sentence(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        question = f"question {self.question_id}" if self.question_id else ""
        turn = f"turn {self.turn}" if self.turn else ""
        return f"{', '.join(part for part in (where, question, turn) if part)}: {self.found} ({self.rule})"


@dataclass(frozen=True)
class Line:
    """One line of a file, of whatever kind."""

    path: Path
    number: int
    row: Row
    id: str

    def problem(self, rule: str, found: str, turn: int = 0) -> Problem:
        return Problem(str(self.path), self.number, self.id, turn, rule, found)


@dataclass(frozen=True)
class Asked(Line):
    """A question's line whose turns are texts."""

    category: str = ""
    turns: tuple[str, ...] = ()


@dataclass
class Read:
    """The lines of all files by kind, and what was wrong with them already."""

    whole: bool  # all files that belong together were read, so that what is missing is missing
    questions: list[Asked] = field(default_factory=list)
    references: list[Line] = field(default_factory=list)
    checks: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Linted:
    questions: int
    references: int
    checks: int
    nearest: tuple[str, str, float] | None  # ids of the two questions most alike, and how much; None for fewer than two
    problems: tuple[Problem, ...]


def lint(files: Sequence[Path] = ()) -> Linted:
    """Hold files of questions, references and checks against the rules; without any, the set that ships.

    A line with `choices` is a reference, one with `kind` a check, any other a question. Of named files only that is
    asked which they can show: ten of each category that occurs, references if there is a file of them, and checks.
    Raises BadInput for a file or line that cannot be read at all.
    """
    read = read_lines(files)
    problems = [*read.problems, *ids(read), *counts(read)]
    for question in read.questions:
        problems += [*shape(question), *texts(question)]
    problems += [*stop_marks(read.questions), *references(read), *checks(read)]
    pairs = near_pairs(read.questions)
    problems += [
        pair[1].problem("similar", f"is like question {pair[0].id}: {near:.2f} of their runs of characters are shared")
        for near, pair in pairs
        if near >= NEAR
    ]
    nearest = (pairs[0][1][0].id, pairs[0][1][1].id, pairs[0][0]) if pairs else None
    sizes = len(read.questions), len(read.references), len(read.checks)
    return Linted(*sizes, nearest, tuple(sorted(problems, key=lambda p: (p.file, p.line, p.turn))))


def read_lines(files: Sequence[Path]) -> Read:
    read = Read(whole=not files)
    for path in files or SHIPPED:
        for number, row in rows_of(path):
            try:
                line = Line(path, number, row, id_of(row.get("question_id")))
            except ValueError as error:
                raise BadInput(f"{path}, line {number} cannot be used ({error}); correct or remove it") from None
            if "choices" in row:
                read.references.append(line)
            elif "kind" in row:
                read.checks.append(line)
            else:
                read_question(line, read)
    if not read.questions:
        raise BadInput(f"{files[0] if files else DATA} holds no question; name the files of questions too")
    return read


def read_question(line: Line, read: Read) -> None:
    turns = line.row.get("turns")
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        read.problems.append(line.problem("turns", "`turns` is no list of texts"))
        turns = []
    category = str(line.row.get("category") or "")
    read.questions.append(Asked(line.path, line.number, line.row, line.id, category, tuple(turns)))


def ids(read: Read) -> Iterator[Problem]:
    """Unique, and each in the block of ten of its category."""
    seen: set[str] = set()
    for question in read.questions:
        if question.id in seen:
            yield question.problem("id", "its id stands twice")
        seen.add(question.id)
        if question.category not in JAPANESE:
            yield question.problem("category", f"{question.category!r} is no category; they are {', '.join(JAPANESE)}")
        elif category_of(question.id) != question.category:
            block = category_of(question.id) or "no category"
            yield question.problem("id", f"its id is in the block of {block}, and its category is {question.category}")
        elif read.whole and int(question.id) not in OWN_IDS:
            yield question.problem("id", f"ids of ours are {OWN_IDS[0]} to {OWN_IDS[-1]}")


def counts(read: Read) -> Iterator[Problem]:
    """Ten of each category."""
    found = Counter(question.category for question in read.questions)
    where = str(DATA if read.whole else read.questions[0].path)
    for category in JAPANESE:
        if (category in found or read.whole) and found[category] != BLOCK:
            yield Problem(where, 0, "", 0, "count", f"{category} has {found[category]} questions instead of {BLOCK}")


def shape(question: Asked) -> Iterator[Problem]:
    """Two turns of a sensible length, the second of which needs the first."""
    if question.turns and len(question.turns) != TURNS:
        yield question.problem("turns", f"it has {len(question.turns)} turns instead of {TURNS}")
    for turn, (text, (least, most)) in enumerate(zip(question.turns, LENGTHS, strict=False), 1):
        if not least <= len(text) <= most:
            yield question.problem("length", f"{len(text)} characters, not {least} to {most}", turn)
    if len(question.turns) == TURNS and not wording.points_back(question.turns[1]):
        yield question.problem("depends", "no word points back at the first turn, so it could be asked alone", TURNS)


def texts(question: Asked) -> Iterator[Problem]:
    for turn, text in enumerate(question.turns, 1):
        if kana := wording.half_width_kana(text):
            yield question.problem("half-width-kana", f"{kana!r} is half-width", turn)
        if sign := wording.ascii_punctuation(text):
            yield question.problem("ascii-punctuation", f"{sign!r} has ASCII punctuation in running Japanese", turn)


def stop_marks(questions: Sequence[Asked]) -> Iterator[Problem]:
    """One pair of stops in the whole set, 、。 or ，．: whichever is used more."""
    used = [[wording.stops(text) for text in question.turns] for question in questions]
    japanese = sum(found[0] for turns in used for found in turns)
    western = sum(found[1] for turns in used for found in turns)
    stray, wrong = (1, "，．") if japanese >= western else (0, "、。")
    for question, turns in zip(questions, used, strict=True):
        for turn, found in enumerate(turns, 1):
            if found[stray]:
                yield question.problem("mixed-stops", f"{found[stray]} of {wrong}, where the set has the others", turn)


def references(read: Read) -> Iterator[Problem]:
    """For each question that is judged beside a reference, one that answers both turns."""
    known = {question.id for question in read.questions}
    seen: set[str] = set()
    for line in read.references:
        if line.id in seen:
            yield line.problem("reference", "its reference stands twice")
        seen.add(line.id)
        if line.id not in known:
            yield line.problem("reference", "there is no such question")
        if not answers_both(line.row):
            yield line.problem("reference", f"it does not answer {TURNS} turns in `choices[0].turns`")
    if read.whole or read.references:
        for question in read.questions:
            if question.category in NEEDS_REFERENCE and question.id not in seen:
                yield question.problem("reference", "there is no reference answer")


def answers_both(row: Row) -> bool:
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    turns = first.get("turns") if isinstance(first, dict) else None
    if not isinstance(turns, list) or len(turns) != TURNS:
        return False
    return all(isinstance(turn, str) and turn.strip() for turn in turns)


def checks(read: Read) -> Iterator[Problem]:
    """Each check is of a turn of a question."""
    turns = {question.id: len(question.turns) for question in read.questions}
    for line in read.checks:
        turn = line.row.get("turn")
        if line.id not in turns:
            yield line.problem("check", "there is no such question")
        elif isinstance(turn, bool) or not isinstance(turn, int) or not 1 <= turn <= turns[line.id]:
            yield line.problem("check", f"`turn` is {turn!r}, none of the question's turns")


def near_pairs(questions: Sequence[Asked]) -> list[tuple[float, tuple[Asked, Asked]]]:
    """Every two questions with how alike they are, the most alike first."""
    cut = [(question, wording.pieces("".join(question.turns))) for question in questions]
    found = [(wording.nearness(one, other), (a, b)) for (a, one), (b, other) in combinations(cut, 2)]
    return sorted(found, key=lambda pair: -pair[0])
