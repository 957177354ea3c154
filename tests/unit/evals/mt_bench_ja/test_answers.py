"""How the model is asked: turns, samples and settings of each protocol, and the faults of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgellm.errors import PromptTooLong, UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.model import Reply
from edgellm.evals.mt_bench_ja.answers import Answer, Asker, Place, as_files_have_them
from edgellm.evals.mt_bench_ja.files import Answers, Question
from edgellm.evals.mt_bench_ja.protocols import protocol_named
from edgellm.evals.run import Run
from scripted_model import Heard, ScriptedModel

MATH = Question("31", "math", ("式を解いて", "もう一度"), ("1", "2"))
WRITING = Question("71", "writing", ("文を書いて", "短くして"))


def echoing() -> ScriptedModel:
    """Answers with the number of the request, so that answers differ."""
    model = ScriptedModel(lambda heard: f"答え{len(model.heard)}")
    return model


def answered(
    folder: Path, model: ScriptedModel, protocol: str, *questions: Question, repeats: int | None = None,
    quirks: bool = False, system: str = "", seed: int = 0,
) -> dict[Place, Answer]:  # fmt: skip
    journal = Journal(folder / "journal.jsonl", "run")
    try:
        run = Run(model, journal, seed=seed)
        return Asker(run, protocol_named(protocol, repeats=repeats), system, quirks=quirks).all(questions)
    finally:
        journal.close()


def test_the_second_turn_continues_the_first(tmp_path: Path) -> None:
    found = answered(tmp_path, model := echoing(), "edgellm", WRITING, system="役")
    assert [(m.role, m.content) for m in model.heard[1].messages] == [
        ("system", "役"), ("user", "文を書いて"), ("assistant", "答え1"), ("user", "短くして"),
    ]  # fmt: skip
    assert [found["71", 0, turn].text for turn in (1, 2)] == ["答え1", "答え2"]


def test_all_first_turns_are_asked_before_a_second(tmp_path: Path) -> None:
    answered(tmp_path, model := echoing(), "edgellm", MATH, WRITING)
    assert [heard.text for heard in model.heard] == ["式を解いて", "文を書いて", "もう一度", "短くして"]


def test_sampling_is_the_protocols(tmp_path: Path) -> None:
    answered(tmp_path, model := echoing(), "fastchat-jp", MATH, WRITING)
    assert [(h.sampling.temperature, h.sampling.top_p, h.sampling.repetition_penalty, h.max_tokens)
            for h in model.heard] == [(0.1, 0.9, 1.1, 512), (0.5, 0.9, 1.1, 512)]  # fmt: skip


def test_each_sample_has_a_seed_of_its_own_and_continues_itself(tmp_path: Path) -> None:
    answered(tmp_path, model := echoing(), "swallow", WRITING, repeats=3, seed=100)
    assert [heard.sampling.seed for heard in model.heard] == [114, 115, 116] * 2
    assert [heard.messages[1].content for heard in model.heard[3:]] == ["答え1", "答え2", "答え3"]


def test_samples_of_temperature_0_are_made_one_by_one(tmp_path: Path) -> None:
    answered(tmp_path, model := echoing(), "swallow-instruct", MATH, repeats=3)
    assert len(model.heard) == 6


def test_the_quirks_copy_answers_of_temperature_0(tmp_path: Path) -> None:
    found = answered(tmp_path, model := echoing(), "swallow-instruct", MATH, repeats=3, quirks=True)
    assert len(model.heard) == 2
    assert [found["31", repeat, 2].text for repeat in range(3)] == ["答え2"] * 3


def test_the_quirks_continue_the_first_sample_in_every_second_turn(tmp_path: Path) -> None:
    found = answered(tmp_path, model := echoing(), "swallow-instruct", WRITING, repeats=3, quirks=True)
    assert [heard.messages[1].content for heard in model.heard[3:]] == ["答え1"] * 3
    assert [found["71", repeat, 1].text for repeat in range(3)] == ["答え1", "答え2", "答え3"]


@pytest.mark.parametrize(("quirks", "characters"), [(True, 8192), (False, 9000)])
def test_the_quirks_cut_each_turn(tmp_path: Path, quirks: bool, characters: int) -> None:
    model = ScriptedModel(lambda heard: "長" * 9000)
    found = answered(tmp_path, model, "swallow-instruct", WRITING, repeats=1, quirks=quirks)
    assert [len(found["71", 0, turn].text) for turn in (1, 2)] == [characters] * 2
    assert len(model.heard[1].messages[1].content) == characters


def test_thinking_is_counted_and_is_no_answer(tmp_path: Path) -> None:
    model = ScriptedModel(lambda heard: Reply("はい", "考え中", "length", 9, 3, 1.5))
    assert answered(tmp_path, model, "fastchat-jp", WRITING)["71", 0, 1] == Answer("はい", "", 3, "length", 9, 3, 1.5)


def raising(error: Exception, when: Callable[[Heard], bool]) -> ScriptedModel:
    def say(heard: Heard) -> str:
        if when(heard):
            raise error
        return "答え"

    return ScriptedModel(say)


def test_a_question_that_is_too_long_has_no_answer_and_no_second_turn(tmp_path: Path) -> None:
    model = raising(PromptTooLong("too long"), lambda heard: heard.text == "文を書いて")
    found = answered(tmp_path, model, "edgellm", WRITING, MATH)
    assert [found["71", 0, turn].error for turn in (1, 2)] == ["too long"] * 2
    assert [heard.text for heard in model.heard] == ["文を書いて", "式を解いて", "もう一度"]


def test_a_model_that_refuses_the_first_question_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="401"):
        answered(tmp_path, raising(UsageError("401"), lambda heard: True), "edgellm", WRITING)


def test_what_is_in_the_journal_is_not_asked_again(tmp_path: Path) -> None:
    first = answered(tmp_path, echoing(), "swallow", WRITING, MATH, repeats=2)
    again = answered(tmp_path, model := echoing(), "swallow", WRITING, MATH, repeats=2)
    assert again == first
    assert not model.heard


def test_answers_are_written_as_fastchat_has_them(tmp_path: Path) -> None:
    found = answered(tmp_path, echoing(), "swallow", WRITING, MATH, repeats=2)
    assert as_files_have_them(found, "m") == [
        Answers("71", "m", (("答え1", "答え5"), ("答え2", "答え6"))),
        Answers("31", "m", (("答え3", "答え7"), ("答え4", "答え8"))),
    ]
