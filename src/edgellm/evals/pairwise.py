"""Which of two models answers better, as a judge sees it: a quantization and its original, say.

A judge is shown each pair twice, with the order exchanged, and a model wins a pair only where it wins both times. A
judge that goes by position then gives ties, and is exposed as such.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgellm.errors import BadInput
from edgellm.evals.judge import FAILED_CALL, Judge
from edgellm.evals.mt_bench_ja.files import Question, read_answers
from edgellm.evals.pairwise_prompt import SCHEMA, SYSTEM, Choice, choice_in, prompt
from edgellm.evals.run import Run
from edgellm.evals.scoring import mean_score
from edgellm.records.evals import EvalResult, Score
from edgellm.records.judging import Comparison, PairwiseCounts
from edgellm.store import digest
from edgellm.store.json_lines import text_of

Place = tuple[str, int, int]  # question, which of N, turn
AGAIN = 1  # how often a judgment that holds no choice is asked for once more
SIGNIFICANT = 0.01
MAX_TOKENS = 1024
ORDERS = ("ab", "ba")  # who stands first
PROMPTS_SHA256 = digest.of_value(
    [
        SYSTEM,
        prompt(["1"], ["2"], ["3"], structured=False),
        prompt(["1"] * 2, ["2"] * 2, ["3"] * 2, structured=True),
        SCHEMA,
    ]
)


@dataclass(frozen=True)
class Side:
    """One model's answers. `prompts` and `categories` are known where a result of ours was read."""

    name: str
    answers: Mapping[Place, str]
    prompts: Mapping[tuple[str, int], str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    items_sha256: str | None = None
    path: str = ""


@dataclass(frozen=True)
class Pair:
    place: Place
    category: str
    questions: tuple[str, ...]
    a: tuple[str, ...]  # answers to each of the questions
    b: tuple[str, ...]


def read_side(path: Path, model: str | None = None) -> Side:
    """Answers of a result of `eval run`, or of a FastChat answer file; `model` tells which, where a file has several.

    Raises BadInput for what is neither.
    """
    result = _result_of(path)
    if result is None:
        return _answer_file(path, model)
    records = [one for one in result.records if one.status != "failed" or one.answer]
    if not records:
        raise BadInput(f"{path} holds no answers; save one with `edgellm eval run --save {path}`")
    return Side(
        result.model_name or result.target, {(one.id, one.repeat, max(1, one.turn)): one.answer for one in records},
        {(one.id, max(1, one.turn)): one.prompt for one in records}, {one.id: one.category for one in records},
        result.items_sha256, str(path),
    )  # fmt: skip


def _result_of(path: Path) -> EvalResult | None:
    """None where the file is not one JSON document, but lines of them."""
    try:
        whole = json.loads(text_of(path))
    except ValueError:
        return None
    if not isinstance(whole, dict) or "choices" in whole:
        return None
    try:
        return EvalResult.model_validate(whole)
    except ValidationError:
        raise BadInput(f"{path} is neither a result of `edgellm eval run` nor a file of answers") from None


def _answer_file(path: Path, model: str | None) -> Side:
    given = read_answers(path)
    models = sorted({one.model for one in given})
    if model is not None and model not in models:
        raise BadInput(f"{path} has no answers of {model}; it has those of {', '.join(models)}")
    if model is None and len(models) > 1:
        raise BadInput(f"{path} has answers of {', '.join(models)}; give a file with those of one model")
    answers = {
        (one.question, repeat, turn): text
        for one in given if model in (None, one.model)
        for repeat, choice in enumerate(one.choices)
        for turn, text in enumerate(choice, 1)
    }  # fmt: skip
    return Side(model or models[0] or path.stem, answers, path=str(path))


def pairs_of(a: Side, b: Side, questions: Sequence[Question]) -> tuple[list[Pair], int]:
    """What both answered, with the conversation before it, in the order of A; and how many answers only one has.

    `questions` give the texts where the sides do not. Raises BadInput where nothing is common, where the two were
    asked different things, and for an answer to a question that is not known.
    """
    if a.items_sha256 and b.items_sha256 and a.items_sha256 != b.items_sha256:
        raise BadInput(f"{a.path} and {b.path} are of different items, so their answers cannot be compared")
    known = {question.id: question for question in questions}
    common = [place for place in a.answers if place in b.answers]
    if not common:
        raise BadInput(f"{a.path} and {b.path} have no answer to the same question; bring answers to the same items")
    found = []
    for question, repeat, turn in common:
        places = [(question, repeat, earlier) for earlier in range(1, turn + 1)]
        if any(place not in a.answers or place not in b.answers for place in places):
            continue
        texts = tuple(_question(a, b, known, question, earlier) for earlier in range(1, turn + 1))
        category = a.categories.get(question) or b.categories.get(question)
        if not category:
            category = known[question].category if question in known else ""
        of_a, of_b = (tuple(side.answers[place] for place in places) for side in (a, b))
        found.append(Pair((question, repeat, turn), category, texts, of_a, of_b))
    return found, len(a.answers.keys() ^ b.answers.keys())


def _question(a: Side, b: Side, known: Mapping[str, Question], question: str, turn: int) -> str:
    asked = {side.prompts[question, turn] for side in (a, b) if (question, turn) in side.prompts}
    if len(asked) > 1:
        raise BadInput(f"question {question} was not the same for {a.path} and {b.path}; compare answers to the same")
    if asked:
        return asked.pop()
    if question not in known or len(known[question].turns) < turn:
        raise BadInput(f"there is no question {question} with a turn {turn}; give the file with --questions")
    return known[question].turns[turn - 1]


def compare_pairs(run: Run, judge: Judge, pairs: Sequence[Pair], *, structured: bool) -> list[Comparison]:
    """Ask about each pair in both orders; what the run's journal knows is not asked again."""
    asked = [(pair, order) for pair in pairs if pair.a != pair.b for order in ORDERS]
    keys = {(pair.place, order): _key(run, pair.place, order) for pair, order in asked}
    jobs = {keys[pair.place, order]: partial(_ask, judge, pair, order, structured) for pair, order in asked}
    said = run.each(jobs, "comparing")
    return [
        _comparison(pair, [said[keys[pair.place, order]] for order in ORDERS if pair.a != pair.b]) for pair in pairs
    ]


def _key(run: Run, place: Place, order: str) -> str:
    """In the journal. A call that failed in an earlier run keeps its place there, and is made again under the next."""
    question, repeat, turn = place
    again = 0
    while True:
        key = f"{repeat}/{turn}/{order}/{again}/{question}"
        known = run.journal.get(key)
        if known is None or known["text"] != FAILED_CALL:
            return key
        again += 1


def _ask(judge: Judge, pair: Pair, order: str, structured: bool) -> dict[str, Any]:
    first, second = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
    text = prompt(pair.questions, first, second, structured=structured)
    choice: Choice | None = None
    for attempt in range(1 + AGAIN):
        judgment = judge.ask(
            SYSTEM, text, schema=SCHEMA if structured else None, max_tokens=MAX_TOKENS, attempt=attempt
        )
        if judgment.failed:
            continue
        if (choice := choice_in(judgment.text, structured=structured)) is not None:
            break
    preferred = {"first": order[0], "second": order[1], "tie": "tie", None: ""}[choice]
    return {"preferred": preferred, **asdict(judgment)}


def _comparison(pair: Pair, said: Sequence[Mapping[str, Any]]) -> Comparison:
    """`said`: what came of each of ORDERS; nothing for a pair of the same answer."""
    question, repeat, turn = pair.place
    of = Comparison(id=question, category=pair.category, turn=turn, repeat=repeat, preferred=None)
    if not said:
        return of.model_copy(update={"preferred": "tie", "first": "same", "second": "same"})
    one, other = said
    first, second = one["preferred"], other["preferred"]
    failed = not first or not second
    preferred = None if failed else first if first == second else "tie"
    found = {
        "preferred": preferred, "first": first, "second": second, "status": "failed" if failed else "ok",
        "judgments": (one["text"], other["text"]),
    }  # fmt: skip
    return of.model_copy(update=found)


@dataclass(frozen=True)
class Tally:
    """Sums over comparisons; see `PairwiseResult`, whose fields these are."""

    wins_a: int
    wins_b: int
    ties: int
    win_rate_b: Score | None
    sign_test_p: float
    inconsistent: int
    prefers_first: float | None
    failed: int
    same: int
    per_category: dict[str, PairwiseCounts]
    position_biased: bool
    verdict: str


def tally(found: Sequence[Comparison], a: str, b: str) -> Tally:
    from scipy.stats import binomtest  # type: ignore[attr-defined]  # scipy does not declare its exports

    decided = [one for one in found if one.preferred is not None]
    wins_a, wins_b, ties = (sum(one.preferred == who for one in decided) for who in ("a", "b", "tie"))
    opposite = [one for one in decided if {one.first, one.second} == {"a", "b"}]
    first = sum(one.first == "a" for one in opposite)  # A stood first in the first order, and B in the second
    p = float(binomtest(wins_b, wins_a + wins_b).pvalue) if wins_a + wins_b else 1.0
    biased = bool(opposite) and binomtest(first, len(opposite)).pvalue < SIGNIFICANT
    rate = mean_score([_worth(one) for one in decided], [one.id for one in decided]) if decided else None
    categories = sorted({one.category for one in found})
    return Tally(
        wins_a, wins_b, ties, rate, p, len(opposite), first / len(opposite) if opposite else None,
        len(found) - len(decided), sum(one.first == "same" for one in found),
        {category: _counts([one for one in decided if one.category == category]) for category in categories},
        biased, _verdict(a, b, (wins_a, wins_b), p, opposite, first, biased, len(decided)),
    )  # fmt: skip


def _worth(one: Comparison) -> float:
    return {"a": 0.0, "b": 1.0}.get(str(one.preferred), 0.5)


def _counts(decided: Sequence[Comparison]) -> PairwiseCounts:
    wins_a, wins_b, ties = (sum(one.preferred == who for one in decided) for who in ("a", "b", "tie"))
    rate = sum(map(_worth, decided)) / len(decided) if decided else None
    return PairwiseCounts(wins_a=wins_a, wins_b=wins_b, ties=ties, win_rate_b=rate)


def _verdict(
    a: str, b: str, wins: tuple[int, int], p: float, opposite: Sequence[Comparison], first: int, biased: bool, n: int
) -> str:
    if not n:
        return "the judge gave no choice that can be read, so nothing is known"
    if biased:
        where = "first" if first * 2 > len(opposite) else "second"
        return (
            f"the judge goes by position: in {len(opposite)} of {n} pairs it changed its mind with the order, mostly "
            f"for what stood {where}; take another judge"
        )
    if p >= 0.05:
        return f"no difference seen between {a} and {b} (p = {p:.2g})"
    return f"{b if wins[1] > wins[0] else a} is preferred (p = {p:.2g})"
