"""Our own prompts: each can be followed, and what does not follow it is found out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.evals.ifeval_ja.files import OUR_PROMPTS, Item, read_items
from edgellm.evals.ifeval_ja.registry import OURS
from edgellm.evals.ifeval_ja.scoring import judge, whole

ITEMS = read_items(OUR_PROMPTS)
ANSWERS = {
    str(row["key"]): row
    for row in map(json.loads, (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines())
}


def test_there_are_a_hundred_prompts_or_more_each_with_an_answer_and_no_two_alike() -> None:
    assert len(ITEMS) >= 100
    assert {item.key for item in ITEMS} == set(ANSWERS)
    assert len({item.prompt for item in ITEMS}) == len(ITEMS)


def test_every_rule_of_ours_is_asked_for_somewhere() -> None:
    assert {rule for item in ITEMS for rule in item.rules if rule.startswith("edgellm:")} == set(OURS)


def test_no_prompt_of_ours_needs_more_than_the_base_install() -> None:
    assert not {asked.rule.library for item in ITEMS for asked in item.instructions} - {""}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.key)
def test_a_good_answer_follows_every_instruction(item: Item) -> None:
    assert judge(item, ANSWERS[item.key]["good"]).strict == (True,) * len(item.instructions)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.key)
def test_an_answer_beside_the_point_is_found_out_even_loosely(item: Item) -> None:
    assert whole(judge(item, ANSWERS[item.key]["off"]).loose) is False


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.key)
def test_an_empty_answer_follows_nothing(item: Item) -> None:
    assert not any(judge(item, "").loose)
