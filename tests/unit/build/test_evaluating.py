"""An evaluation asks each thing once, also when it is stopped, and mixes nothing that differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toy_suite
from counting_server import Counting, counting_server
from edgellm.build.eval_models import Asked
from edgellm.build.evaluating import Evaluation, evaluate, evaluated
from edgellm.errors import Busy, EngineFailed, NetworkNeeded, UsageError
from edgellm.evals.chat_model import Patience
from edgellm.evals.options import SuiteOptions
from edgellm.evals.suites import SUITES
from edgellm.records.evals import EvalResult
from edgellm.store.work import EVALUATIONS, WorkFolder

QUICK = Patience(breaks=0, first_wait_s=0.01)


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "toy", (toy_suite.MODULE, toy_suite.KIND))


@pytest.fixture
def server() -> Iterator[Counting]:
    with counting_server() as counting:
        yield counting


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "work")


def journals(work: WorkFolder) -> list[Path]:
    return sorted((work.root / EVALUATIONS).glob("toy-*.jsonl"))


def order(server: Counting, **changes: Any) -> Evaluation:
    fields = {"suite": "toy", "asked": Asked(server.url, patience=QUICK)} | changes
    return Evaluation(**fields)


def stopped_in_the_middle(server: Counting, work: WorkFolder, **changes: Any) -> None:
    """Two answers are there, and the third breaks off."""
    server.faults = ["", "", "broken"]
    with pytest.raises(EngineFailed):
        evaluate(order(server, **changes), work)
    assert len(journals(work)) == 1


def test_a_result_says_what_was_asked_of_whom_and_how(server: Counting, work: WorkFolder) -> None:
    result = evaluate(order(server, limit=4), work)
    assert (result.suite, result.protocol, result.items, result.failed) == ("toy", "toy", 4, 0)
    assert (result.target, result.model_name, result.model) == (server.url, "counting", None)
    assert result.score is not None
    assert result.score.mean == 1.0
    assert set(result.categories) == {"0", "1"}
    assert [record.answer for record in result.records] == ["はい。"] * 4
    assert {key: result.settings[key] for key in ("limit", "seed", "resumed")} == {"limit": 4, "seed": 0, "resumed": 0}
    assert result.machine
    assert result.versions["edgellm"]
    assert EvalResult.model_validate_json(result.model_dump_json()) == result
    assert journals(work) == []


def test_a_stopped_run_goes_on_and_asks_nothing_twice(server: Counting, work: WorkFolder) -> None:
    stopped_in_the_middle(server, work)
    result = evaluate(order(server), work)
    assert result.settings["resumed"] == 2
    assert sorted(server.times().values()) == [1, 1, 1, 1, 2]  # twice what broke off
    assert journals(work) == []


def test_a_shorter_run_that_was_stopped_serves_a_longer_one(server: Counting, work: WorkFolder) -> None:
    stopped_in_the_middle(server, work, limit=3)
    assert evaluate(order(server), work).items == 5
    assert len(server.asked) == 6


def test_a_fresh_run_asks_everything(server: Counting, work: WorkFolder) -> None:
    stopped_in_the_middle(server, work)
    result = evaluate(order(server, fresh=True), work)
    assert result.settings["resumed"] == 0
    assert len(server.asked) == 3 + 5


@pytest.mark.parametrize("what", ["seed", "repeats", "model", "items"])
def test_what_was_asked_otherwise_is_not_taken(server: Counting, work: WorkFolder, tmp_path: Path, what: str) -> None:
    stopped_in_the_middle(server, work)
    items = tmp_path / "items.txt"
    items.write_text("\n".join(toy_suite.QUESTIONS), encoding="utf-8")
    other = {
        "seed": {"options": SuiteOptions(seed=1)}, "repeats": {"options": SuiteOptions(repeats=2)},
        "model": {"asked": Asked(server.url, "other", patience=QUICK)}, "items": {"options": SuiteOptions(items=items)},
    }[what]  # fmt: skip
    assert evaluate(order(server, **other), work).settings["resumed"] == 0
    assert len(server.asked) == 3 + 5
    assert len(journals(work)) == 1  # of the one that was stopped


def test_a_result_that_could_not_be_kept_is_there_again_without_asking(server: Counting, work: WorkFolder) -> None:
    with pytest.raises(OSError, match="disk is full"), evaluated(order(server), work):
        raise OSError("the disk is full")
    assert evaluate(order(server), work).settings["resumed"] == 10  # five answers and five judgments
    assert len(server.asked) == 5


def test_the_same_evaluation_twice_at_once_is_busy(server: Counting, work: WorkFolder) -> None:
    with evaluated(order(server), work):
        with pytest.raises(Busy, match="same evaluation"):
            evaluate(order(server), work)
        assert evaluate(order(server, options=SuiteOptions(seed=1)), work).items == 5


def test_a_judge_is_named_and_never_asked_the_same_twice(server: Counting, work: WorkFolder) -> None:
    with counting_server(answer=lambda body: "はい、満点です。") as judge:
        ordered = order(server, judge=Asked(judge.url, "judge", patience=QUICK))
        result = evaluate(ordered, work)
        assert result.judge is not None
        assert (result.judge.name, result.judge.model_sha256) == ("judge", None)
        assert len(judge.asked) == 1  # all five answers are the same
        evaluate(ordered, work)
        assert len(judge.asked) == 1
        evaluate(order(server, judge=ordered.judge, fresh=True), work)
        assert len(judge.asked) == 2


def test_judgments_of_two_servers_are_not_mixed_though_their_models_have_one_name(
    server: Counting, work: WorkFolder
) -> None:
    with counting_server(answer=lambda body: "はい") as kind, counting_server(answer=lambda body: "いいえ") as strict:
        scores = [evaluate(order(server, judge=Asked(each.url)), work).score for each in (kind, strict)]
    assert [score and score.mean for score in scores] == [1.0, 0.0]


def test_what_a_suite_does_not_take_is_told_before_anybody_is_asked(server: Counting, work: WorkFolder) -> None:
    with pytest.raises(UsageError, match="--shots means nothing to the suite toy"):
        evaluate(order(server, options=SuiteOptions(shots=3)), work)
    with pytest.raises(UsageError, match=r"no suite 'toi'; take one of mt-bench-ja"):
        evaluate(order(server, suite="toi"), work)
    with pytest.raises(UsageError, match="only behind a URL"):
        evaluate(order(server, asked=Asked("tiny-ja", "name")), work)
    assert server.asked == []


@pytest.mark.parametrize("who", ["model", "judge"])
def test_other_machines_are_left_alone_offline(
    server: Counting, work: WorkFolder, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setenv("EDGELLM_OFFLINE", "1")
    away = Asked("http://192.0.2.1:8080", "any")
    ordered = order(server, asked=away) if who == "model" else order(server, judge=away)
    with pytest.raises(NetworkNeeded, match=f"the {who} is at 192.0.2.1 and EDGELLM_OFFLINE forbids"):
        evaluate(ordered, work)
    assert evaluate(order(server), work).items == 5  # this machine may be asked


def test_a_server_that_is_not_there_is_told_at_once(work: WorkFolder) -> None:
    with pytest.raises(EngineFailed, match="check that the server runs"):
        evaluate(Evaluation("toy", Asked("http://127.0.0.1:9")), work)
    with pytest.raises(UsageError, match="no address of a server"):
        evaluate(Evaluation("toy", Asked("http://")), work)
