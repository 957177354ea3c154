"""The questions of a run and their reference answers: ours, or those of files that a user has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.files import JAPANESE, Question, read_questions, read_references
from edgellm.evals.mt_bench_ja.judge_prompts import DATA
from edgellm.evals.mt_bench_ja.protocols import NEEDS_REFERENCE, Protocol

OUR_REFERENCES = DATA / "reference_answer.jsonl"


def load_questions(items: Path | None, references: Path | None) -> list[Question]:
    """The questions with their references, where they have some.

    Without `items` ours, by their ids. Without `references` a file's questions have those of their own lines. Raises
    BadInput for what cannot be read.
    """
    questions = read_questions(items) if items else our_questions()
    if references is None and items is None:
        references = OUR_REFERENCES
    return with_references(questions, read_references(references) if references else {})


def our_questions() -> list[Question]:
    return [question for category in JAPANESE for question in read_questions(DATA / f"{category}.jsonl")]


def with_references(questions: Iterable[Question], references: Mapping[str, tuple[str, ...]]) -> list[Question]:
    return [replace(own, references=references.get(own.id, own.references)) for own in questions]


def for_protocol(questions: Iterable[Question], protocol: Protocol) -> list[Question]:
    """The questions with as many turns as the protocol asks, and only the references that it shows its judge.

    Raises BadInput where it cannot do without a reference that there is not.
    """
    found = []
    for own in questions:
        turns = own.turns[: protocol.turns]
        shown = own.references[: len(turns)] if protocol.any_reference or own.category in NEEDS_REFERENCE else ()
        if len(shown) < len(turns):
            if not protocol.any_reference and own.category in NEEDS_REFERENCE:
                raise BadInput(
                    f"question {own.id} ({own.category}) has no reference answer for each turn, which the protocol "
                    f"{protocol.name} shows its judge; give the file of references with --references"
                )
            shown = ()
        found.append(replace(own, turns=turns, references=shown))
    return found
