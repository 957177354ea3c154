"""A judge is never asked the same thing twice, and says so when it is gone."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgellm.errors import EngineFailed, PromptTooLong, UsageError
from edgellm.evals.judge import CACHE_FILE, FAILED_CALL, HOPELESS, Judge
from scripted_model import Heard, ScriptedModel, ScriptedStructuredModel

SCHEMA = {"type": "object"}


def numbered() -> ScriptedModel:
    """Says how often it was asked."""
    model = ScriptedModel(lambda heard: f"[[{len(model.heard)}]]")
    return model


def test_the_same_prompt_is_asked_once() -> None:
    judge = Judge(model := numbered())
    assert [judge.ask("s", "p").text, judge.ask("s", "p").text] == ["[[1]]", "[[1]]"]
    assert len(model.heard) == 1


@pytest.mark.parametrize("other", [{"system": "t"}, {"prompt": "q"}, {"max_tokens": 7}, {"attempt": 1}])
def test_whatever_else_is_asked_is_asked(other: dict[str, object]) -> None:
    judge = Judge(numbered())
    judge.ask("s", "p")
    assert judge.ask(**({"system": "s", "prompt": "p"} | other)).text == "[[2]]"  # type: ignore[arg-type]


def test_a_drawn_judgment_is_drawn_each_time_and_a_greedy_one_is_not() -> None:
    greedy, drawing = Judge(numbered()), Judge(numbered(), temperature=0.5)
    assert greedy.ask("s", "p", draw=0) == greedy.ask("s", "p", draw=1)
    assert drawing.ask("s", "p", draw=0) != drawing.ask("s", "p", draw=1)


def test_judgments_are_kept_for_the_next_run(tmp_path: Path) -> None:
    with_cache = Judge(numbered(), cache=tmp_path)
    with_cache.ask("s", "一\u2028二")
    with_cache.close()
    again = Judge(model := numbered(), cache=tmp_path)
    assert again.ask("s", "一\u2028二").text == "[[1]]"
    assert not model.heard


@pytest.mark.parametrize("other", [{"temperature": 0.5}, {"model_sha256": "sha256:0"}])
def test_another_judge_does_not_take_them_over(tmp_path: Path, other: dict[str, object]) -> None:
    Judge(numbered(), cache=tmp_path).ask("s", "p")
    Judge(model := numbered(), cache=tmp_path, **other).ask("s", "p")  # type: ignore[arg-type]
    assert len(model.heard) == 1


def test_a_line_that_a_kill_cut_short_costs_one_judgment(tmp_path: Path) -> None:
    first = Judge(numbered(), cache=tmp_path)
    first.ask("s", "a")
    first.ask("s", "b")
    path = tmp_path / CACHE_FILE
    path.write_bytes(path.read_bytes()[:-9])
    second = Judge(model := numbered(), cache=tmp_path)
    assert second.ask("s", "a").text == "[[1]]"
    second.ask("s", "b")
    assert len(model.heard) == 1
    third = Judge(model := numbered(), cache=tmp_path)
    third.ask("s", "a")
    third.ask("s", "b")
    assert not model.heard


def test_who_asks_the_same_at_the_same_time_waits_for_the_one_answer() -> None:
    go_on = threading.Event()

    def say(heard: Heard) -> str:
        assert go_on.wait(10)
        return "[[5]]"

    judge = Judge(model := ScriptedModel(say))
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(judge.ask, "s", "p") for _ in range(4)]
        go_on.set()
        assert {future.result().text for future in asked} == {"[[5]]"}
    assert len(model.heard) == 1


def test_a_judge_that_was_never_there_ends_the_run() -> None:
    def say(heard: Heard) -> str:
        raise EngineFailed("nobody listens")

    with pytest.raises(EngineFailed, match=r"nobody listens.*what is done is kept"):
        Judge(ScriptedModel(say)).ask("s", "p")


def test_a_judge_that_refuses_the_first_prompt_ends_the_run() -> None:
    def say(heard: Heard) -> str:
        raise UsageError("401")

    with pytest.raises(UsageError, match="401"):
        Judge(ScriptedModel(say)).ask("s", "p")


def failing_on(*prompts: str) -> ScriptedModel:
    def say(heard: Heard) -> str:
        if heard.text in prompts:
            raise EngineFailed("broke off")
        return "[[5]]"

    return ScriptedModel(say)


def test_a_single_failure_is_a_failed_call_which_another_day_may_succeed(tmp_path: Path) -> None:
    judge = Judge(failing_on("bad"), cache=tmp_path)
    judge.ask("s", "good")
    said = judge.ask("s", "bad")
    assert (said.text, said.failed, said.error) == (FAILED_CALL, True, "broke off")
    assert Judge(failing_on(), cache=tmp_path).ask("s", "bad").text == "[[5]]"


def test_a_prompt_that_is_too_long_is_a_failed_call_even_as_the_first() -> None:
    def say(heard: Heard) -> str:
        raise PromptTooLong("9000 tokens")

    assert Judge(ScriptedModel(say)).ask("s", "p").failed


def test_failures_one_after_another_end_the_run() -> None:
    prompts = [f"bad {n}" for n in range(HOPELESS)]
    judge = Judge(failing_on(*prompts))
    judge.ask("s", "good")
    for prompt in prompts[:-1]:
        assert judge.ask("s", prompt).failed
    with pytest.raises(EngineFailed, match="gives no judgments"):
        judge.ask("s", prompts[-1])


def test_a_success_between_failures_goes_on() -> None:
    judge = Judge(failing_on(*(f"bad {n}" for n in range(9))))
    judge.ask("s", "good")
    for n in range(9):
        judge.ask("s", f"bad {n}")
        judge.ask("s", f"good {n}")


def test_a_judge_that_keeps_to_schemas_can_be_held_to_one() -> None:
    model = ScriptedStructuredModel(lambda heard: '{"probe": "held"}' if heard.schema else "?")
    assert Judge(model).can_structure()
    assert Judge(model).ask("s", "p", schema=SCHEMA).text == '{"probe": "held"}'


@pytest.mark.parametrize("text", ["Sure! held", "{}", '{"probe": "held", "more": 1}'])
def test_a_judge_that_passes_over_schemas_is_found_out(text: str) -> None:
    assert not Judge(ScriptedStructuredModel(lambda heard: text)).can_structure()


def test_a_judge_that_refuses_schemas_is_asked_without() -> None:
    def say(heard: Heard) -> str:
        if heard.schema:
            raise UsageError("no response_format here")
        return "[[5]]"

    judge = Judge(ScriptedStructuredModel(say))
    assert not judge.can_structure()
    assert judge.ask("s", "p").text == "[[5]]"


def test_a_model_without_schemas_is_not_asked_about_them() -> None:
    assert not Judge(model := numbered()).can_structure()
    assert not model.heard


def test_the_fingerprint_tells_who_judged_and_by_which_prompts() -> None:
    judge = Judge(numbered(), model_sha256="sha256:1", temperature=0.5)
    found = judge.fingerprint("edgellm", "sha256:2", structured=True)
    assert json.loads(found.model_dump_json()) == {
        "name": "scripted", "model_sha256": "sha256:1", "prompts": "edgellm", "prompts_sha256": "sha256:2",
        "temperature": 0.5, "structured": True,
    }  # fmt: skip
