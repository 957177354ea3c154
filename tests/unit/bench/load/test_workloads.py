"""Workloads: our own Japanese text, of the lengths that were asked for, the same for the same seed."""

from __future__ import annotations

import os

import pytest

from edgellm.bench.load.workloads import SHAPES, Workload, WorkloadOptions, exact, japanese_prose
from edgellm.errors import UsageError

COUNT = len  # characters


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("busting", [False, True])
def test_prompts_have_the_length_that_was_asked_for_by_an_exact_tokenizer(name: str, busting: bool) -> None:
    count = exact("tiny-ja")
    options = WorkloadOptions(name, prompt_tokens=(150, 600), output_tokens=(16,), cache_busting=busting)
    workload = Workload(options, count, nonce="00c0ffee-")
    for number in range(8):
        found = count(workload.conversation(number).messages[0])
        assert min(abs(found - 150) / 150, abs(found - 600) / 600) <= 0.02, (number, found)


def test_a_prompt_is_never_shorter_than_its_question() -> None:
    workload = Workload(WorkloadOptions("extraction", prompt_tokens=(1,)), COUNT)
    assert workload.conversation(0).messages[0].endswith("。")


def test_every_pair_of_lengths_is_asked() -> None:
    options = WorkloadOptions("translation", prompt_tokens=(200, 400), output_tokens=(8, 16))
    workload = Workload(options, COUNT)
    assert workload.shape.lengths == ((200, 8), (200, 16), (400, 8), (400, 16))
    assert {workload.conversation(n).output_tokens for n in range(20)} == {8, 16}


def test_the_seed_decides_what_is_asked_and_the_order_of_asking_does_not() -> None:
    one, again = (Workload(WorkloadOptions("document", (500,), seed=3), COUNT) for _ in range(2))
    other = Workload(WorkloadOptions("document", (500,), seed=4), COUNT)
    forwards = [one.conversation(n) for n in range(12)]
    assert forwards == [again.conversation(n) for n in reversed(range(12))][::-1]
    assert forwards != [other.conversation(n) for n in range(12)]


def test_cache_busting_leaves_no_two_prompts_a_common_beginning() -> None:
    def prompts(busting: bool) -> list[str]:
        workload = Workload(WorkloadOptions("document", (500,), cache_busting=busting), COUNT, nonce="1-")
        return [workload.conversation(n).messages[0] for n in range(40)]

    marked, plain = prompts(True), prompts(False)
    numbers = [text.partition("】")[0] for text in marked]
    assert len(set(numbers)) == 40
    assert len({text[:200] for text in plain}) <= 8  # documents, about which several questions are asked
    assert len(set(plain)) > 20


def test_turns_go_on_with_follow_up_questions() -> None:
    messages = Workload(WorkloadOptions("chat", turns=3), COUNT).conversation(0).messages
    assert len(messages) == 3
    assert len(set(messages)) == 3


def test_all_text_is_japanese_prose_that_ships() -> None:
    everything = "\n".join(japanese_prose())
    message = Workload(WorkloadOptions("translation", (300,)), COUNT).conversation(1).messages[0]
    instruction, _, prose = message.partition("\n\n")
    assert instruction.endswith("。")
    assert all(line in everything for line in prose.splitlines()[1:-1])
    assert os.linesep.join(prose.splitlines()[1:-1])


def test_an_unknown_workload_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are chat, document"):
        Workload(WorkloadOptions("poems"), COUNT)
