"""The suite from questions to an outcome, with a model and a judge that say what they are told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import BadInput, EngineFailed, PromptTooLong, UsageError
from edgellm.evals.journal import Journal
from edgellm.evals.judge import Judge
from edgellm.evals.mt_bench_ja.aggregate import aggregate
from edgellm.evals.mt_bench_ja.files import read_answers, read_judgments
from edgellm.evals.mt_bench_ja.protocols import protocol_named
from edgellm.evals.mt_bench_ja.suite import MtBenchJa
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Outcome, Run
from edgellm.evals.suites import make_suite
from scripted_model import Heard, ScriptedModel, ScriptedStructuredModel

QUESTIONS = [("1031", "math"), ("1061", "stem"), ("1071", "writing")]
REFUSAL = "申し訳ありませんが、お答えできません。"
PUBLISHED = {
    "single-v1": "{question} {answer}", "single-math-v1": "{question} {ref_answer_1} {answer}",
    "single-v1-multi-turn": "{question_2} {answer_2}", "single-math-v1-multi-turn": "{ref_answer_2} {answer_2}",
}  # fmt: skip


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    rows = [{"question_id": own, "category": kind, "turns": [f"問{own}甲", f"問{own}乙"]} for own, kind in QUESTIONS]
    return jsonl(tmp_path / "question.jsonl", rows)


@pytest.fixture
def references(tmp_path: Path) -> Path:
    rows = [{"question_id": "1031", "model_id": "r", "choices": [{"index": 0, "turns": ["模範甲", "模範乙"]}]}]
    return jsonl(tmp_path / "reference_answer.jsonl", rows)


@pytest.fixture
def options(items: Path, references: Path) -> SuiteOptions:
    return SuiteOptions(items=items, references=references)


def answering(heard: Heard) -> str:
    return f"答{heard.text.removeprefix('問')}"


def run_suite(
    folder: Path, options: SuiteOptions, judge: ScriptedModel, answer: Callable[[Heard], str] = answering,
    limit: int | None = None,
) -> Outcome:  # fmt: skip
    suite = make_suite("mt-bench-ja", replace(options, judge=Judge(judge)))
    journal = Journal(folder / "journal.jsonl", "run")
    try:
        return suite.run(Run(ScriptedModel(answer, "model"), journal, limit=limit))
    finally:
        journal.close()


def marking(marks: dict[str, int], otherwise: int = 5) -> ScriptedModel:
    """A judge by the answer that it is shown last: turn 2 shows both."""

    def say(heard: Heard) -> str:
        found = [mark for answer, mark in marks.items() if answer in heard.text]
        return f"理由です。\n[[{found[-1] if found else otherwise}]]"

    return ScriptedModel(say, "judge")


def test_ours_gives_micro_and_macro_means_and_turns(tmp_path: Path, options: SuiteOptions) -> None:
    outcome = run_suite(tmp_path, options, marking({"答1031甲": 2, "答1061甲": 4, "答1031乙": 8, "答1061乙": 6}, 10))
    assert outcome.score is not None
    assert outcome.score.mean == (2 + 8 + 4 + 6 + 10 + 10) / 6
    assert {name: score.mean for name, score in outcome.categories.items()} == {"math": 5, "stem": 5, "writing": 10}
    assert (outcome.measures["turn_1_mean"], outcome.measures["turn_2_mean"]) == (16 / 3, 8)
    assert (outcome.items, outcome.scale, len(outcome.records)) == (3, 10, 6)
    assert outcome.score.low <= outcome.score.mean <= outcome.score.high


def test_a_record_tells_what_was_asked_answered_and_judged(tmp_path: Path, options: SuiteOptions) -> None:
    record = run_suite(tmp_path, options, marking({}, 7)).records[1]
    assert (record.id, record.turn, record.prompt, record.answer, record.score) == (
        "1031",
        2,
        "問1031乙",
        "答1031乙",
        7,
    )
    assert record.detail["judge_prompt"] == "single-math-v1-multi-turn"
    assert record.detail["judgment"] == "理由です。\n[[7]]"


def test_a_judgment_without_a_score_is_asked_for_once_more(tmp_path: Path, options: SuiteOptions) -> None:
    judge = ScriptedModel(lambda heard: "採点できません" if "答1061甲" in heard.text else "[[6]]")
    outcome = run_suite(tmp_path, options, judge)
    assert sum("答1061甲" in heard.text and "答1061乙" not in heard.text for heard in judge.heard) == 2
    failed = [record for record in outcome.records if record.status == "failed"]
    assert [(record.id, record.score, record.detail["attempts"]) for record in failed] == [
        ("1061", None, 2), ("1061", None, 2),
    ]  # fmt: skip
    assert outcome.score is not None
    assert outcome.score.mean == 6


@pytest.mark.parametrize(("protocol", "times"), [("llm-jp-judge", 2), ("swallow-instruct", 1)])
def test_what_a_protocol_does_about_a_judgment_without_a_score(
    tmp_path: Path, options: SuiteOptions, protocol: str, times: int
) -> None:
    judge = ScriptedModel(lambda heard: "なし")
    outcome = run_suite(tmp_path, replace(options, protocol=protocol, repeats=1), judge)
    assert len(judge.heard) == 6 * times
    assert (outcome.score, outcome.categories) == (None, {})


def test_an_empty_answer_gets_the_lowest_score_unjudged(tmp_path: Path, options: SuiteOptions) -> None:
    judge = marking({}, 9)
    outcome = run_suite(tmp_path, options, judge, lambda heard: " \n" if heard.text == "問1071乙" else answering(heard))
    record = outcome.records[5]
    assert (record.status, record.score, record.detail["judge_prompt"]) == ("empty", 1, "")
    assert not any("問1071乙" in heard.text for heard in judge.heard)


def test_a_published_protocol_has_its_judge_mark_empty_answers(tmp_path: Path, options: SuiteOptions) -> None:
    outcome = run_suite(tmp_path, replace(options, protocol="llm-jp-judge"), marking({}, 3), lambda heard: "")
    assert {(record.status, record.score) for record in outcome.records} == {("empty", 3)}


def test_a_refusal_is_counted_apart_with_the_judges_score(tmp_path: Path, options: SuiteOptions) -> None:
    judge = marking({REFUSAL: 2}, 9)
    outcome = run_suite(tmp_path, options, judge, lambda heard: REFUSAL if "1071甲" in heard.text else answering(heard))
    assert (outcome.records[4].status, outcome.records[4].score) == ("refused", 2)


def test_an_answer_that_could_not_be_had_is_a_failure(tmp_path: Path, options: SuiteOptions) -> None:
    def answer(heard: Heard) -> str:
        if "1061" in heard.text:
            raise PromptTooLong("no room")
        return answering(heard)

    outcome = run_suite(tmp_path, options, marking({}, 8), answer)
    assert [(record.id, record.status) for record in outcome.records if record.status != "ok"] == [
        ("1061", "failed")
    ] * 2
    assert "no room" in outcome.records[2].reason
    assert outcome.score is not None
    assert outcome.score.mean == 8


def test_one_in_ten_judgments_is_asked_again_in_another_order(tmp_path: Path, options: SuiteOptions) -> None:
    """A judge that likes what stands last: references move behind the answer, and criteria to the end."""
    judge = ScriptedModel(lambda heard: "[[9]]" if heard.text.index("# 審査の観点") > 200 else "[[6]]")
    outcome = run_suite(tmp_path, options, judge)
    assert (outcome.measures["order_change_points"], outcome.measures["order_checked"]) == (0, 1)
    first = outcome.records[0]
    assert (first.score, first.detail["reordered_score"]) == (6, 6)
    biased = ScriptedModel(lambda heard: "[[9]]" if before(heard.text, "答1031甲", "模範甲") else "[[6]]")
    (tmp_path / "again").mkdir()
    outcome = run_suite(tmp_path / "again", options, biased)
    assert outcome.measures["order_change_points"] == 3
    assert outcome.score is not None
    assert outcome.score.mean == 6  # the check is no part of the score


def before(text: str, first: str, second: str) -> bool:
    return first in text and second in text and text.index(first) < text.index(second)


def structured(rating: Any) -> ScriptedStructuredModel:
    def say(heard: Heard) -> str:
        if heard.schema is None:
            return "[[2]]"
        probe = "probe" in heard.schema["properties"]
        return json.dumps({"probe": "held"} if probe else {"explanation": "…", "rating": rating})

    return ScriptedStructuredModel(say, "judge")


@pytest.mark.parametrize(("protocol", "rating", "mean"), [("nejumi", "[[8]]", 0.8), ("edgellm", 8, 8)])
def test_a_judge_that_can_is_held_to_a_schema(
    tmp_path: Path, options: SuiteOptions, protocol: str, rating: Any, mean: float
) -> None:
    outcome = run_suite(tmp_path, replace(options, protocol=protocol), structured(rating))
    assert outcome.score is not None
    assert outcome.score.mean == mean
    assert outcome.judge is not None
    assert outcome.judge.structured


def test_a_judge_that_cannot_is_read_as_text_and_the_result_says_so(tmp_path: Path, options: SuiteOptions) -> None:
    outcome = run_suite(tmp_path, replace(options, protocol="nejumi"), marking({}, 0))
    assert outcome.score is not None
    assert outcome.score.mean == 0
    assert any("JSON schema" in note for note in outcome.notes)


def test_protocols_without_schemas_ask_for_none(tmp_path: Path, options: SuiteOptions) -> None:
    judge = structured(8)
    run_suite(tmp_path, replace(options, protocol="llm-jp-judge"), judge)
    assert all(heard.schema is None for heard in judge.heard)


def test_swallow_marks_each_of_n_and_gives_the_spread(tmp_path: Path, options: SuiteOptions) -> None:
    answers = iter(range(100))
    judge = ScriptedModel(lambda heard: f"[[{4 + 2 * (int(heard.text.split('番')[0][-1]) % 2)}]]")
    outcome = run_suite(
        tmp_path, replace(options, protocol="swallow", repeats=2), judge, lambda heard: f"{next(answers)}番"
    )
    assert outcome.score is not None
    assert (outcome.score.mean, outcome.scale) == (0.5, 1)
    assert len(outcome.records) == 12
    assert "sd" in outcome.measures


def test_stabilitys_protocol_asks_one_turn(tmp_path: Path, options: SuiteOptions) -> None:
    outcome = run_suite(tmp_path, replace(options, protocol="fastchat-jp"), marking({}, 7))
    assert [record.turn for record in outcome.records] == [1, 1, 1]


def test_only_three_categories_show_a_published_judge_a_reference(
    tmp_path: Path, items: Path, options: SuiteOptions
) -> None:
    rows = [
        {"question_id": own, "model_id": "r", "choices": [{"turns": [f"模範{own}", "模範"]}]} for own, _ in QUESTIONS
    ]  # fmt: skip
    every = replace(options, references=jsonl(tmp_path / "all.jsonl", rows))
    judge = marking({})
    run_suite(tmp_path, replace(every, protocol="llm-jp-judge"), judge)
    assert {own for own, _ in QUESTIONS if any(f"模範{own}" in heard.text for heard in judge.heard)} == {"1031"}
    (tmp_path / "ours").mkdir()
    run_suite(tmp_path / "ours", every, ours := marking({}))
    assert {own for own, _ in QUESTIONS if any(f"模範{own}" in heard.text for heard in ours.heard)} == {
        "1031", "1061", "1071",
    }  # fmt: skip


def test_a_published_protocol_needs_references_where_it_shows_them(options: SuiteOptions) -> None:
    judge = Judge(marking({}))
    with pytest.raises(BadInput, match=r"question 1031 \(math\) has no reference answer .*--references"):
        MtBenchJa(replace(options, references=None, protocol="llm-jp-judge", judge=judge))
    assert MtBenchJa(replace(options, references=None, judge=judge)).protocol == "edgellm"


def test_published_prompts_are_used_and_named(tmp_path: Path, options: SuiteOptions) -> None:
    rows = [{"name": name, "system_prompt": "s", "prompt_template": text} for name, text in PUBLISHED.items()]
    path = jsonl(tmp_path / "judge_prompts.jsonl", rows)
    judge = marking({}, 4)
    outcome = run_suite(tmp_path, replace(options, judge_prompts=path, protocol="swallow-instruct", repeats=1), judge)
    assert judge.heard[0].text == "問1031甲 模範甲 答1031甲"
    assert outcome.judge is not None
    assert outcome.judge.prompts == "judge_prompts.jsonl"
    assert not outcome.notes


def test_prompts_of_ours_in_a_published_protocol_are_told(tmp_path: Path, options: SuiteOptions) -> None:
    notes = run_suite(tmp_path, replace(options, protocol="llm-jp-judge"), marking({})).notes
    assert sum("judge prompts are edgellm's" in note or "system prompt is edgellm's" in note for note in notes) == 2


def test_files_come_out_in_fastchats_shape_and_count_to_the_same(tmp_path: Path, options: SuiteOptions) -> None:
    judge = ScriptedModel(lambda heard: "なし" if "答1061甲" in heard.text else f"[[{len(heard.text) % 10 + 1}]]")
    answers, judgments = tmp_path / "answers.jsonl", tmp_path / "judgments.jsonl"
    both = replace(options, answer_file=answers, judgment_file=judgments)
    outcome = run_suite(tmp_path, both, judge, lambda h: "" if h.text == "問1071乙" else answering(h))
    assert read_answers(answers)[0].choices == (("答1031甲", "答1031乙"),)
    scores = aggregate(read_judgments(judgments), protocol_named("edgellm"))["model"]
    assert outcome.score is not None
    assert (scores["mean"], scores["low"], scores["high"]) == (
        outcome.score.mean, outcome.score.low, outcome.score.high,
    )  # fmt: skip
    assert (scores["items"], scores["failed"], scores["empty"]) == (6, 2, 1)
    rows = [json.loads(row) for row in judgments.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["user_prompt"] == next(heard.text for heard in judge.heard if "問1031甲" in heard.text)


def dying_after(answers: int) -> ScriptedModel:
    count = iter(range(1000))

    def say(heard: Heard) -> str:
        if next(count) >= answers:
            raise EngineFailed("gone")
        return "[[7]]"

    return ScriptedModel(say, "judge")


def test_a_run_whose_judge_went_away_asks_nothing_twice_and_misses_nothing(
    tmp_path: Path, options: SuiteOptions
) -> None:
    many = replace(options, repeats=3)
    dying, numbers = dying_after(4), iter(range(100))
    with pytest.raises(EngineFailed, match="what is done is kept"):
        run_suite(tmp_path, many, dying, lambda heard: f"{answering(heard)}の{next(numbers)}")
    judged = {heard.text for heard in dying.heard[:4]}
    outcome = run_suite(tmp_path, many, judge := marking({}, 7), lambda heard: pytest.fail("asked again"))
    assert not {heard.text for heard in judge.heard if "# 審査の観点" in heard.text[:200]} & judged
    assert [record.status for record in outcome.records] == ["ok"] * 18


def test_a_judgment_that_breaks_off_once_is_asked_for_again_at_the_end(tmp_path: Path, options: SuiteOptions) -> None:
    breaks = iter([True])

    def say(heard: Heard) -> str:
        if "答1061甲" in heard.text and next(breaks, False):
            raise EngineFailed("once")
        return "[[7]]"

    outcome = run_suite(tmp_path, options, judge := ScriptedModel(say))
    assert {record.status for record in outcome.records} == {"ok"}
    assert "答1061甲" in judge.heard[6].text


def test_a_judgment_that_always_breaks_off_is_a_failure(tmp_path: Path, options: SuiteOptions) -> None:
    def say(heard: Heard) -> str:
        if "答1061乙" in heard.text:
            raise EngineFailed("always")
        return "[[7]]"

    outcome = run_suite(tmp_path, options, ScriptedModel(say))
    assert [(r.id, r.turn, r.reason) for r in outcome.records if r.status == "failed"] == [("1061", 2, "always")]


def test_another_judge_does_not_take_over_what_the_journal_holds(tmp_path: Path, options: SuiteOptions) -> None:
    run_suite(tmp_path, options, marking({}, 2))
    other = marking({}, 9)
    other.name = "other"
    outcome = run_suite(tmp_path, options, other)
    assert outcome.score is not None
    assert outcome.score.mean == 9


def test_a_limit_takes_the_first_questions(tmp_path: Path, options: SuiteOptions) -> None:
    assert [r.id for r in run_suite(tmp_path, options, marking({}), limit=1).records] == ["1031", "1031"]


def test_digests_tell_questions_from_rules(tmp_path: Path, options: SuiteOptions) -> None:
    with_judge = replace(options, judge=Judge(marking({})))
    items, rules = MtBenchJa(with_judge).digests()
    changed = jsonl(tmp_path / "q.jsonl", [{"question_id": 1, "category": "stem", "turns": ["a", "b"]}])
    assert MtBenchJa(replace(with_judge, items=changed)).digests()[0] != items
    for other in (
        replace(with_judge, protocol="swallow"), replace(with_judge, repeats=2), replace(with_judge, references=None),
    ):  # fmt: skip
        assert MtBenchJa(other).digests()[0] == items
        assert MtBenchJa(other).digests()[1] != rules


def test_without_a_judge_there_is_a_way_on(options: SuiteOptions) -> None:
    with pytest.raises(UsageError, match="judge-free"):
        MtBenchJa(options)


@pytest.mark.parametrize("option", [{"mode": "likelihood"}, {"shots": 3}, {"lengths": (4096,)}])
def test_options_of_other_suites_are_refused(options: SuiteOptions, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="means nothing to the suite mt-bench-ja"):
        MtBenchJa(replace(options, judge=Judge(marking({})), **option))
