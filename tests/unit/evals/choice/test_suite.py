"""The suite `choice`: how choices are ranked, which examples stand before them, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgellm.errors import BadInput, UsageError
from edgellm.evals.choice.flips import own_items
from edgellm.evals.choice.items import ChoiceItem
from edgellm.evals.choice.likelihood import Lengths, chosen_by, scored
from edgellm.evals.choice.prompts import Examples, chat_prompt, likelihood_prompt
from edgellm.evals.choice.suite import Choice, score_file
from edgellm.evals.journal import Journal
from edgellm.evals.model import Likelihood, Model, Reply
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.inference.chat import Message, SamplingOptions
from scripted_model import ScriptedModel


@dataclass
class Ranking:
    """Finds `liked` likeliest per character, and remembers what it was asked."""

    liked: str = "犬"
    name: str = "ranking"
    prompts: list[str] = field(default_factory=list)

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        raise NotImplementedError

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        self.prompts.append(prompt)
        return [
            Likelihood(-1.0 * len(c) if c == self.liked else -2.0 * len(c), len(c), len(c.encode()))
            for c in continuations
        ]  # fmt: skip


def items_file(folder: Path, count: int = 6) -> Path:
    path = folder / "items.jsonl"
    entries = [
        {"id": f"q{i}", "question": f"{i}番目にほえるのは？", "choices": ["猫", "犬", "鳥"], "answer": int(i < 4)}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")
    return path


def run(suite: Choice, model: Model, tmp_path: Path, limit: int | None = None) -> Outcome:
    journal = Journal(tmp_path / "journal.jsonl", "run")
    try:
        return suite.run(Run(model, journal, concurrency=2, limit=limit))
    finally:
        journal.close()


def test_each_way_of_ranking_can_choose_another() -> None:
    found = chosen_by(
        [Lengths(-4.0, 1, 3, 1), Lengths(-9.0, 9, 9, 3), Lengths(-12.0, 4, 4, 4), Lengths(-10.0, 4, 24, 4)]
    )
    assert found == {"raw": 0, "token": 1, "byte": 3, "character": 3}
    assert chosen_by([Lengths(-4.0, 2, 3, 1), Lengths(-12.0, 4, 6, 6)])["character"] == 1


def test_the_score_is_the_share_of_right_choices_per_character(tmp_path: Path) -> None:
    found = run(Choice(SuiteOptions(items=items_file(tmp_path))), Ranking(), tmp_path)
    assert found.score is not None
    assert found.score.mean == pytest.approx(4 / 6)
    assert found.measures["accuracy_character"] == pytest.approx(4 / 6)
    assert [record.detail["chosen"] for record in found.records] == [1] * 6


def test_examples_never_hold_the_item_itself_and_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    model = Ranking()
    run(Choice(SuiteOptions(items=items_file(tmp_path), shots=3, seed=5)), model, tmp_path)
    for prompt in model.prompts:
        *shots, asked = prompt.split("問題：")[1:]
        assert len(shots) == 3
        assert asked.split("\n")[0] not in [shot.split("\n")[0] for shot in shots]
    again = Choice(SuiteOptions(items=items_file(tmp_path), shots=3, seed=5))
    other = Choice(SuiteOptions(items=items_file(tmp_path), shots=3, seed=6))
    first = Choice(SuiteOptions(items=items_file(tmp_path), shots=3, seed=5))
    assert first.digests() == again.digests()
    assert first.digests() != other.digests()


def test_an_example_with_the_question_of_the_item_is_left_out() -> None:
    items = [ChoiceItem(name, question, ("あ", "い"), 0) for name, question in [("1", "問"), ("2", "問"), ("3", "別")]]
    for item in items[:2]:
        assert [shot.question for shot in Examples(items, 1, 0).of(item)] == ["別"]


def test_more_examples_than_there_are_other_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shots 6 needs at least 7 different questions and the file has 6"):
        Choice(SuiteOptions(items=items_file(tmp_path), shots=6))


def test_an_option_that_means_nothing_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--repeats means nothing to the suite choice"):
        Choice(SuiteOptions(items=items_file(tmp_path), repeats=2))


def test_written_answers_are_read_and_those_without_a_choice_are_wrong_and_counted(tmp_path: Path) -> None:
    said = iter(["答え：2", "答えは2です", "分かりません", "", "申し訳ありませんが、お答えできません。", "1"])
    suite = Choice(SuiteOptions(items=items_file(tmp_path), mode="generation"))
    journal = Journal(tmp_path / "journal.jsonl", "run")
    found = suite.run(Run(ScriptedModel(lambda heard: next(said)), journal))
    journal.close()
    assert [record.score for record in found.records] == [1, 1, 0, 0, 0, 1]
    assert [record.status for record in found.records] == ["ok", "ok", "ok", "empty", "refused", "ok"]
    assert found.measures["answers_without_a_choice"] == 1
    assert suite.protocol == "generation-0-shot"


def test_prompts_name_every_choice_and_end_where_the_answer_begins() -> None:
    item = ChoiceItem("x", "ほえるのは？", ("猫", "犬"), 1)
    prompt = likelihood_prompt(item, [ChoiceItem("y", "鳴くのは？", ("石", "鳥"), 1)])
    assert prompt.endswith("問題：ほえるのは？\n選択肢：\n1. 猫\n2. 犬\n答え：")
    assert "答え：鳥\n\n" in prompt
    assert "「答え：」" in chat_prompt(item)


def test_our_own_items_come_with_what_they_are_good_for(tmp_path: Path) -> None:
    found = run(Choice(SuiteOptions()), Ranking(), tmp_path, limit=5)
    assert any("too few and too easy to rank models" in note for note in found.notes)


def test_the_real_model_ranks_the_choices_of_a_real_prompt(tiny_ja_model: Model) -> None:
    item = own_items()[0]
    found = scored(tiny_ja_model, item)
    assert [one.characters for one in found] == [len(choice) for choice in item.choices]
    assert all(one.nats < 0 and one.tokens > 0 for one in found)
    assert found == scored(tiny_ja_model, item)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("given.jsonl", '{"id": "q0", "answer": "2"}\n{"question_id": "q4", "response": "答えは1です"}\n'),
        ("given.json", '[{"id": "q0", "answer": 1}, {"id": "q4", "answer": "猫"}]'),
        ("given.csv", 'question_id,answer\nq0,②\nq4,"正解は、\n1番です"\n'),
        ("given.csv", "\ufeffid,response\nq0,犬\nq4,A\n"),
    ],
)
def test_given_answers_are_scored_and_missing_ones_are_wrong(tmp_path: Path, name: str, text: str) -> None:
    answers = tmp_path / name
    answers.write_text(text, encoding="utf-8")
    found = score_file(answers, items_file(tmp_path))
    assert found.score is not None
    assert found.score.mean == pytest.approx(2 / 6)
    assert [record.status for record in found.records].count("empty") == 4
    assert "4 items have no answer" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": "q0", "answer": "2"}\n{"id": "q0", "answer": "1"}', "line 2 answers 'q0' a second time"),
        ('{"id": "zz", "answer": "2"}', "line 1 answers the question 'zz', which is not among the items"),
        ('{"id": "q0"}', "line 1 has no answer"),
        ('{"answer": "2"}', "line 1 names no question"),
        ("question_id,answer\nq0\n", "line 2 has 1 cells where the first row names 2"),
    ],
)
def test_a_broken_line_of_answers_is_named(tmp_path: Path, text: str, words: str) -> None:
    answers = tmp_path / "given"
    answers.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=words):
        score_file(answers, items_file(tmp_path))
