"""What the judge is asked, by our prompts and by a published file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.evals.mt_bench_ja.judge_prompts import NAMES, Conversation, load_judge_prompts
from edgellm.evals.mt_bench_ja.protocols import protocol_named

FIRST = Conversation("1", "stem", ("問一", "問二"), ("答一",))
SECOND = Conversation("1", "math", ("問一", "問二"), ("答一", "答二"), ("模一", "模二"))
TEMPLATES = {
    "single-v1": "Q {question} A {answer}",
    "single-math-v1": "Q {question} R {ref_answer_1} A {answer} {{x}}",
    "single-v1-multi-turn": "{question_1}|{answer_1}|{question_2}|{answer_2}",
    "single-math-v1-multi-turn": "{ref_answer_1}|{ref_answer_2}|{answer_2}",
}


def published(path: Path, **changed: str) -> Path:
    rows = [{"name": n, "system_prompt": f"s {n}", "prompt_template": t} for n, t in (TEMPLATES | changed).items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("judged", [FIRST, SECOND, Conversation("1", "math", ("問一",), ("答一",), ("模一",))])
def test_our_prompts_show_all_that_is_judged(judged: Conversation, structured: bool, reordered: bool) -> None:
    asking = load_judge_prompts(None).asking(judged, structured=structured, reordered=reordered)
    for text in (*judged.questions[: judged.turn], *judged.answers, *judged.references):
        assert asking.text.count(text) == 1
    assert ("[[点数]]" in asking.text) is not structured


def test_the_reference_stands_on_the_other_side_of_the_answer_in_the_other_order() -> None:
    prompts = load_judge_prompts(None)
    text, other = (prompts.asking(SECOND, reordered=reordered).text for reordered in (False, True))
    assert text.index("模二") < text.index("答二")
    assert other.index("答二") < other.index("模二")


def test_our_prompts_ask_for_what_our_protocol_reads() -> None:
    text = load_judge_prompts(None).asking(FIRST).text
    assert protocol_named("edgellm").read(text) == 6  # the example of the format, which stands last


def test_a_published_file_is_used_as_it_is(tmp_path: Path) -> None:
    prompts = load_judge_prompts(published(tmp_path / "judge_prompts.jsonl"))
    assert prompts.asking(FIRST).text == "Q 問一 A 答一"
    assert prompts.asking(SECOND).text == "模一|模二|答二"
    assert (prompts.asking(SECOND).name, prompts.asking(SECOND).system) == (
        "single-math-v1-multi-turn", "s single-math-v1-multi-turn",
    )  # fmt: skip
    assert (prompts.whose, prompts.can_reorder) == ("judge_prompts.jsonl", False)


def test_braces_of_a_template_and_of_an_answer_stay_what_they_are(tmp_path: Path) -> None:
    prompts = load_judge_prompts(published(tmp_path / "p.jsonl"))
    judged = Conversation("1", "math", ("問",), ("{question} {{0}} {}",), ("模",))
    assert prompts.asking(judged).text == "Q 問 R 模 A {question} {{0}} {} {x}"


def test_a_file_without_one_of_the_four_prompts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"name": "single-v1", "prompt_template": "x"}), encoding="utf-8")
    with pytest.raises(BadInput, match=NAMES[1]):
        load_judge_prompts(path)


def test_a_place_for_what_there_is_not_is_named(tmp_path: Path) -> None:
    path = published(tmp_path / "p.jsonl", **{"single-v1": "{answer_a}"})
    with pytest.raises(BadInput, match=r"p.jsonl, prompt single-v1 has a place for \{answer_a\}"):
        load_judge_prompts(path).asking(FIRST)


def test_a_change_of_a_prompt_changes_the_digest(tmp_path: Path) -> None:
    one = load_judge_prompts(published(tmp_path / "a.jsonl"))
    other = load_judge_prompts(published(tmp_path / "b.jsonl", **{"single-v1": "{question}{answer}"}))
    assert one.sha256 == load_judge_prompts(published(tmp_path / "c.jsonl")).sha256 != other.sha256
