"""Our reference answers, worked out anew: programs against checks, checks against answers, code against tests.

For each turn of each question that has checks: what the programs in `references` find in the question's text is what
its checks expect; a reference answer's code does what the tests ask and what a second program does, on random
arguments; and the reference answer gets full marks by the checks themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from edgellm.evals.checkers import check_all
from edgellm.evals.checkers.code import code_of
from edgellm.evals.mt_bench_ja.files import Row, id_of
from edgellm.evals.mt_bench_ja.questions import OUR_REFERENCES, load_questions
from edgellm.evals.mt_bench_ja.references import PROGRAMS
from edgellm.evals.mt_bench_ja.references.coding import TWINS, Twin
from edgellm.evals.mt_bench_ja.references.facts import Unclear
from edgellm.store.json_lines import rows_of

OUR_CHECKS = OUR_REFERENCES.with_name("checks.jsonl")
TRIES = 150  # random arguments for each function


@dataclass(frozen=True)
class Verified:
    question_id: str
    turn: int
    problems: tuple[str, ...]  # none: everything agrees
    unscored: bool = False  # the checks could not run the reference's code here, as there is no sandbox

    @property
    def sentence(self) -> str:
        return f"question {self.question_id}, turn {self.turn}: {'; '.join(self.problems) or 'everything agrees'}"


def read_checks(path: Path = OUR_CHECKS) -> dict[tuple[str, int], list[Row]]:
    """By question and turn. Raises BadInput for a line that cannot be read."""
    found: dict[tuple[str, int], list[Row]] = {}
    for _, row in rows_of(path):
        found.setdefault((id_of(row["question_id"]), int(row["turn"])), []).append(row)
    return found


def verify(
    references: Path | None = None, checks: Path = OUR_CHECKS, only: Collection[str] | None = None
) -> list[Verified]:
    """One for each turn that has a check or a program, in order. `references`: other answers to our questions.
    `only`: the ids of these questions; None for all.

    The code of the reference answers runs in this process: it must be ours, never a model's.
    """
    questions = {own.id: own for own in load_questions(None, references)}
    specs = read_checks(checks)
    found = []
    for place in sorted({*specs, *PROGRAMS, *TWINS}):
        if only is not None and place[0] not in only:
            continue
        question, turn = questions[place[0]], place[1]
        answer = question.references[turn - 1] if len(question.references) >= turn else ""
        own = specs.get(place, [])
        problems = [*worked_out(place, question.turns, own), *run(place, answer, own)]
        checked = check_all(own, answer)
        if checked.score is not None and checked.score < 1:
            problems.append(f"the reference answer fails its own checks: {checked.reason}")
        found.append(Verified(*place, tuple(problems), unscored=checked.score is None))
    return found


def worked_out(place: tuple[str, int], turns: Sequence[str], specs: Sequence[Row]) -> list[str]:
    """Whether a program finds in the text what the checks expect."""
    specs = [spec for spec in specs if spec["kind"] != "python"]
    if place not in PROGRAMS:
        return ["no program works it out"] if specs or place not in TWINS else []
    try:
        value = PROGRAMS[place](turns)
    except Unclear as error:
        return [str(error)]
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != len(specs):
        return [f"a program finds {len(values)} answers, and there are {len(specs)} checks"]
    pairs = zip(values, specs, strict=True)
    return [
        f"a program finds {own}, and the check expects {expected(spec)}" for own, spec in pairs if not agrees(own, spec)
    ]


def expected(spec: Mapping[str, Any]) -> Any:
    return next((spec[name] for name in ("value", "accept", "expected") if name in spec), None)


def agrees(value: Any, spec: Mapping[str, Any]) -> bool:
    if spec["kind"] == "number":
        return bool(Fraction(spec["value"]) == value)
    if spec["kind"] == "text":
        return bool(spec["accept"][0] == value)
    return bool(spec["expected"] == value)


def run(place: tuple[str, int], answer: str, specs: Sequence[Row]) -> list[str]:
    """Whether the reference's code passes the tests, and does on random arguments what a second program does."""
    tests = [spec for spec in specs if spec["kind"] == "python"]
    if not tests and place not in TWINS:
        return []
    if not tests or place not in TWINS:
        return ["code needs both tests and a second program"]
    names: dict[str, Any] = {}
    try:
        exec(code_of(answer, TWINS[place].function), names)
        for spec in tests:
            exec(spec["tests"], names | {"__name__": "tests"})
    except Exception as error:
        return [f"the reference's code fails its tests: {type(error).__name__} {error}"]
    return differences(TWINS[place], names)


def differences(twin: Twin, names: Mapping[str, Any]) -> list[str]:
    """The first arguments for which the two programs differ."""
    random = Random(twin.function)
    for _ in range(TRIES):
        arguments = twin.draw(random)
        ours, other = (outcome(own, copy.deepcopy(arguments)) for own in (names[twin.function], twin.answer))
        if ours != other:
            return [f"{twin.function}{arguments} is {ours} by the reference and {other} by a second program"]
    return []


def outcome(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    except ValueError:
        return ValueError
