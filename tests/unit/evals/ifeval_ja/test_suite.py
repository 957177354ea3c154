from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgellm.errors import UsageError
from edgellm.evals.ifeval_ja.suite import MAX_TOKENS, IfevalJa, score_file
from edgellm.evals.journal import Journal
from edgellm.evals.model import Reply
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Run
from scripted_model import Heard, ScriptedModel

ROWS = [
    {"key": 1, "prompt": "海を", "instruction_id_list": ["ja:punctuation:no_comma"], "kwargs": [{}]},
    {"key": 2, "prompt": "山を", "instruction_id_list": ["ja:startend:quotation"], "kwargs": [{}]},
]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "run.jsonl", "run")
    yield opened
    opened.close()


def test_each_prompt_is_asked_once_and_greedily(items: Path, journal: Journal) -> None:
    model = ScriptedModel(lambda heard: "「海」")
    IfevalJa(SuiteOptions(items=items)).run(Run(model, journal))
    again = IfevalJa(SuiteOptions(items=items)).run(Run(model, journal))
    assert sorted(heard.text for heard in model.heard) == ["山を", "海を"]
    assert {(heard.sampling.temperature, heard.max_tokens) for heard in model.heard} == {(0.0, MAX_TOKENS)}
    assert again.score is not None
    assert again.score.mean == 1.0


def test_thinking_is_taken_off_before_the_rules_look(items: Path, journal: Journal) -> None:
    model = ScriptedModel(lambda heard: "<think>さて、</think>「海」")
    found = IfevalJa(SuiteOptions(items=items)).run(Run(model, journal))
    assert [(record.answer, record.score) for record in found.records] == [("「海」", 1.0)] * 2
    assert all(record.reasoning_characters for record in found.records)


def test_answers_that_were_cut_off_are_told(items: Path, journal: Journal) -> None:
    def say(heard: Heard) -> Reply:
        return Reply("海", finish_reason="length" if heard.text == "海を" else "stop")

    found = IfevalJa(SuiteOptions(items=items)).run(Run(ScriptedModel(say), journal))
    assert list(found.notes) == [f"1 answer was cut off at {MAX_TOKENS} tokens"]


def test_a_limit_asks_the_first_prompts_only(items: Path, journal: Journal) -> None:
    found = IfevalJa(SuiteOptions(items=items)).run(Run(ScriptedModel(lambda _: "海"), journal, limit=1))
    assert [record.prompt for record in found.records] == ["海を"]


def test_our_own_prompts_are_told_from_the_published_ones(journal: Journal) -> None:
    found = IfevalJa(SuiteOptions()).run(Run(ScriptedModel(lambda _: "海"), journal, limit=1))
    assert any("prompts of ours" in note for note in found.notes)


def test_other_items_have_another_digest_and_the_same_rules(items: Path) -> None:
    ours, theirs = IfevalJa(SuiteOptions()).digests(), IfevalJa(SuiteOptions(items=items)).digests()
    assert ours[0] != theirs[0]
    assert ours[1] == theirs[1]


@pytest.mark.parametrize(
    "options", [SuiteOptions(shots=2), SuiteOptions(quirks=True), SuiteOptions(protocol="swallow")]
)
def test_options_that_mean_nothing_are_refused(options: SuiteOptions) -> None:
    with pytest.raises(UsageError, match="leave"):
        IfevalJa(options)


def test_given_responses_score_as_asked_ones_do(items: Path, tmp_path: Path, journal: Journal) -> None:
    responses = tmp_path / "responses.jsonl"
    responses.write_text("\n".join(json.dumps({"key": key, "response": "海、"}) for key in (1, 2)), encoding="utf-8")
    asked = IfevalJa(SuiteOptions(items=items)).run(Run(ScriptedModel(lambda _: "海、"), journal))
    given, _, _ = score_file(responses, items)
    assert (given.strict, given.loose, given.score) == (asked.strict, asked.loose, asked.score)
