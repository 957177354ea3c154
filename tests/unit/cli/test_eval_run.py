"""`eval run` on the command line: what goes together, what is printed and kept, and whose key is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import toy_suite
from counting_server import Counting, counting_server
from edgellm.cli.main import cli
from edgellm.errors import BadInput, UsageError
from edgellm.evals.suites import SUITES
from edgellm.records.evals import EvalResult
from edgellm.store.results import load


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "toy", (toy_suite.MODULE, toy_suite.KIND))


@pytest.fixture
def server() -> Iterator[Counting]:
    with counting_server() as counting:
        yield counting


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["eval", "run", *map(str, words)])


def test_json_is_the_result_and_the_file_holds_the_same(server: Counting, tmp_path: Path) -> None:
    done = run("--url", server.url, "--suite", "toy", "--json", "--save", tmp_path / "kept.json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert {"suite", "protocol", "score", "categories", "failed", "items"} <= set(found)
    assert set(found["score"]) == {"mean", "low", "high"}
    assert load(tmp_path / "kept.json") == EvalResult.model_validate(found)


def test_people_see_scores_with_intervals_and_where_the_result_is(server: Counting, tmp_path: Path) -> None:
    server.answer = lambda body: "はい" if "0" in body["messages"][0]["content"] else "いいえ"
    done = run("--url", server.url, "--suite", "toy", "--save", tmp_path)
    assert "counting" in done.stdout
    assert "toy, protocol toy, 5 items" in done.stdout
    assert "0.2" in done.stdout
    (file,) = tmp_path.rglob("*.json")
    assert file.name.endswith("counting-toy-eval.json")
    assert f"saved as {file}" in done.stderr


def test_the_key_of_a_file_goes_to_its_own_server_alone(
    server: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELLM_API_KEY", "key-of-the-environment")
    (tmp_path / "key").write_text("key-of-the-judge\n")
    with counting_server(answer=lambda body: "はい") as judge:
        words = ["--url", server.url, "--suite", "toy", "--limit", "1", "--judge", judge.url]
        assert run(*words).exit_code == 0
        assert run(*words, "--seed", "1", "--fresh", "--judge-api-key-file", tmp_path / "key").exit_code == 0
        assert judge.keys == ["", "Bearer key-of-the-judge"]
    assert server.keys == ["Bearer key-of-the-environment"] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either a TARGET"),
        (["tiny-ja", "--url", "http://127.0.0.1:9"], "either a TARGET"),
        (["tiny-ja", "--model", "name"], "--model and --api-key-file are for --url"),
        (["--url", "localhost:8080"], "must begin with http://"),
        (["--url", "http://127.0.0.1:9", "--parallel", "2"], "are for a TARGET"),
        (["--url", "http://127.0.0.1:9", "--judge-model", "name"], "name it with --judge"),
        (["tiny-ja", "--judge", "tiny-ja", "--judge-api-key-file", "key"], "judge behind a URL"),
        (["tiny-ja", "--suite", "none"], "there is no suite 'none'"),
        (["nowhere"], "there is no file or folder 'nowhere'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").write_text("a-key")
    done = run(*([] if "--suite" in words else ["--suite", "toy"]), *words)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_a_place_where_nothing_can_be_kept_is_told_before_anybody_is_asked(server: Counting, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("--url", server.url, "--suite", "toy", "--save", tmp_path / "file" / "kept.json")
    assert "give another place with --save" in str(done.exception)
    assert server.asked == []


def test_a_key_file_that_is_not_there_is_told(server: Counting) -> None:
    done = run("--url", server.url, "--suite", "toy", "--api-key-file", "nowhere")
    assert isinstance(done.exception, BadInput)


@pytest.mark.parametrize(("text", "tokens"), [("4096,16k", (4096, 16384)), ("512", (512,)), ("4K", (4096,))])
def test_lengths_may_be_counted_in_k(text: str, tokens: tuple[int, ...]) -> None:
    from edgellm.cli.eval_questions import Lengths

    assert Lengths().convert(text, None, None) == tokens
