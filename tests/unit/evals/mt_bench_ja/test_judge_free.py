"""Answers to the checkable questions are scored by programs: right, wrong, missing, and code that cannot be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgellm.build.opening import runnable
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.local_model import LocalModel
from edgellm.evals.model import Likelihood, Model, Reply
from edgellm.evals.mt_bench_ja.files import read_answers
from edgellm.evals.mt_bench_ja.judge_free import CATEGORIES, JudgeFree
from edgellm.evals.mt_bench_ja.questions import load_questions
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.target import resolve
from edgellm.store.work import WorkFolder, default_root

QUESTIONS = [own for own in load_questions(None, None) if own.category in CATEGORIES]
REFERENCES = {text: answer for own in QUESTIONS for text, answer in zip(own.turns, own.references, strict=True)}


class Reciting:
    """Says to each question what `says` makes of its reference answer."""

    name = "reciting"

    def __init__(self, says: Callable[[str], str]) -> None:
        self.says = says
        self.heard: list[Sequence[Message]] = []

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        assert sampling.temperature == 0
        self.heard.append(messages)
        return Reply(self.says(REFERENCES[messages[-1].content]), prompt_tokens=5)

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        raise UsageError("it only recites")


def outcome(model: Model, folder: Path, limit: int | None = None, **options: object) -> Outcome:
    journal = Journal(folder / "journal.jsonl", "a run")
    try:
        suite = JudgeFree(SuiteOptions(concurrency=2, **options))  # type: ignore[arg-type]
        return suite.run(Run(model, journal, concurrency=2, limit=limit))
    finally:
        journal.close()


def test_without_a_sandbox_code_counts_neither_as_right_nor_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no bwrap is
    found = outcome(Reciting(str), tmp_path)
    assert set(found.categories) == {"extraction", "math", "reasoning"}
    assert found.score is not None
    assert (found.score.mean, found.score.low, found.score.high) == (1, 1, 1)
    assert [own.status for own in found.records if own.category == "coding"] == ["unscored"] * 20
    assert "20 answers were not scored" in found.notes[0]
    assert "bwrap" in found.notes[0]
    assert (found.items, len(found.records)) == (40, 80)


def test_where_nothing_can_be_scored_there_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = outcome(Reciting(str), tmp_path, limit=2)
    assert found.score is None
    assert found.categories == {}


def test_the_second_turn_follows_the_models_own_first_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    model = Reciting(lambda answer: f"はい。\n{answer}")
    outcome(model, tmp_path, limit=1)
    (first,), second = sorted(model.heard, key=len)
    assert [message.role for message in second] == ["user", "assistant", "user"]
    assert second[0] == first
    assert second[1].content == "はい。\n" + QUESTIONS[0].references[0]


def test_empty_and_refused_answers_get_nothing_and_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = outcome(
        Reciting(lambda answer: "" if "答え：7箱" in answer else "申し訳ありませんが、お答えできません。"), tmp_path
    )
    by_place = {(own.id, own.turn): own for own in found.records}
    assert (by_place["1031", 1].score, by_place["1031", 1].status) == (0, "empty")
    assert (by_place["1031", 2].score, by_place["1031", 2].status) == (0, "refused")
    assert found.score is not None
    assert found.score.mean == 0


def test_one_of_two_checks_is_half_a_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = outcome(Reciting(lambda answer: answer.replace("答え：1,500円", "答え：2,000円")), tmp_path)
    scores = {(own.id, own.turn): own.score for own in found.records if own.score not in (1, None)}
    assert scores == {("1013", 2): 0.5}
    assert found.score is not None
    assert found.score.mean == pytest.approx(59.5 / 60)


def test_a_real_model_is_asked_and_its_turns_are_scored(tmp_path: Path) -> None:
    """The embedded model, with room for the first question and a few words: the second turn no longer fits."""
    target = runnable(resolve("tiny-ja"), WorkFolder(default_root()))
    with LocalModel(target, RuntimeOptions(context_tokens=320)) as model:
        found = outcome(model, tmp_path, limit=1)
    first, second = found.records
    assert (first.id, first.turn, second.turn) == ("1001", 1, 2)
    assert first.answer
    assert first.status in ("ok", "unscored")
    assert first.score in (0, None)
    assert first.prompt_tokens
    assert second.status == "failed"
    assert second.score is None
    assert "too many" in second.reason


def test_answers_are_written_as_fastchat_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome(Reciting(str), tmp_path, limit=2, answer_file=tmp_path / "answers.jsonl")
    written = read_answers(tmp_path / "answers.jsonl")
    assert [(own.question, own.model, own.choices[0]) for own in written] == [
        (own.id, "reciting", own.references) for own in QUESTIONS[:2]
    ]


@pytest.mark.parametrize(
    "options", [{"repeats": 3}, {"quirks": True}, {"items": Path("mine.jsonl")}, {"protocol": "swallow"}]
)
def test_options_that_mean_nothing_here_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        JudgeFree(SuiteOptions(**options))  # type: ignore[arg-type]


def test_the_digest_of_rules_changes_with_the_checks() -> None:
    suite, other = JudgeFree(SuiteOptions()), JudgeFree(SuiteOptions())
    assert suite.digests() == other.digests()
    other._checks["1031", 1][0]["value"] = "8"
    assert suite.digests()[0] == other.digests()[0]
    assert suite.digests()[1] != other.digests()[1]
