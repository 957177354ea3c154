"""Result files are written whole, never replace one another in a folder, and say in a sentence why they cannot be
read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_results import CPU, GPU, dense, load_result, mixture, records
from demo_results import sample
from edgellm.errors import BadInput, UsageError
from edgellm.records.bench import EngineBench, LoadBench
from edgellm.records.evals import EvalResult
from edgellm.records.results import DemoResult
from edgellm.store.results import device_of, load, load_all, load_each, reasons_of, save
from eval_results import evaluation, scores_around

RESULT = dense({1: 5.0})


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (RESULT, EngineBench), (load_result(records(3, 0.2, 0.03)), LoadBench), (sample(), DemoResult),
        (evaluation(scores_around(5.0)), EvalResult),
    ],
)  # fmt: skip
def test_what_is_saved_is_loaded_as_it_was(tmp_path: Path, result: EngineBench, kind: type) -> None:
    path = save(result, tmp_path / "result.json")
    assert path == tmp_path / "result.json"
    found = load(path)
    assert isinstance(found, kind)
    assert found == result


def test_a_folder_gets_a_name_of_date_device_model_and_kind_in_the_device_s_folder(tmp_path: Path) -> None:
    path = save(RESULT, tmp_path / "results")
    device = "example-cpu-2.80ghz-2-cores"
    assert path == tmp_path / "results" / device / f"20261122T100000Z-{device}-llm-jp-4-8b-engine.json"
    assert list(path.parent.iterdir()) == [path]  # and nothing else is left there


def test_an_evaluation_goes_by_its_model_and_its_suite(tmp_path: Path) -> None:
    name = save(evaluation(scores_around(5.0)), tmp_path).name
    assert name == "20261122T130000Z-example-cpu-2.80ghz-2-cores-llm-jp-4-8b-q4_k_m-mt-bench-ja-eval.json"
    behind = evaluation(scores_around(5.0), model=None, model_name="org/gpt", target="http://127.0.0.1:1")
    assert "-org-gpt-mt-bench-ja-eval" in save(behind, tmp_path).name


def test_an_evaluation_that_lost_too_much_does_not_hold() -> None:
    scores = scores_around(5.0)
    assert reasons_of(evaluation(scores)) == []
    lost = {item: (None, turns[1]) if n < 3 else turns for n, (item, turns) in enumerate(scores.items())}
    assert reasons_of(evaluation(lost)) == ["3 of 40 answers have no score (bound 5%)"]
    assert "nothing could be scored" in reasons_of(evaluation({"q": (None,)}))


def test_a_result_on_a_gpu_goes_by_the_gpu(tmp_path: Path) -> None:
    assert save(mixture({1: 200.0}, GPU), tmp_path).parent.name == "example-gpu-h100-80gb"


def test_a_board_goes_by_its_own_name() -> None:
    on_board = dense({1: 3.0}, machine=CPU | {"board": "Example Edge Module"})
    assert device_of(on_board) == "Example Edge Module, 2 cores"


def test_in_a_folder_nothing_is_replaced(tmp_path: Path) -> None:
    paths = {save(RESULT, tmp_path), save(dense({1: 6.0}), tmp_path), save(dense({1: 7.0}), tmp_path)}
    assert len(paths) == 3
    found = [s.result for s in load_all(tmp_path).results]
    assert {r.results[0].tokens_per_s.median for r in found if isinstance(r, EngineBench)} == {5.0, 6.0, 7.0}


def test_a_file_that_was_named_is_replaced(tmp_path: Path) -> None:
    save(RESULT, tmp_path / "last.json")
    save(dense({1: 6.0}), tmp_path / "last.json")
    assert load(tmp_path / "last.json") == dense({1: 6.0})


def test_a_named_file_that_is_no_json_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        save(RESULT, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "keep"


def changed(**values: object) -> str:
    return json.dumps(json.loads(RESULT.model_dump_json()) | values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(schema_version=2), "schema version 2 and this edgellm reads up to 1; update"),
        (changed(kind="orchestra"), "the kind 'orchestra', which this edgellm does not know"),
        (changed(results=3), "damaged at results"),
        (changed(colour="red"), "damaged at colour"),
        ("{}", "no result of edgellm"),
        ("[1, 2]", "no result of edgellm"),
        (changed()[:-200], "no whole JSON document"),
        ("\udcff", "no whole JSON document"),
    ],
)
def test_a_file_that_is_no_result_says_why_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=said) as error:
        load(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no result file"):
        load(tmp_path / "none.json")


def test_a_bad_file_in_a_folder_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good = save(RESULT, tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    bad = tmp_path / "deep" / "er" / "half.json"
    bad.write_text('{"kind": "eng')
    found = load_all(tmp_path)
    assert [s.path for s in found.results] == [good]
    assert [u.path for u in found.unreadable] == [bad]
    assert "no whole JSON document" in found.unreadable[0].reason


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    save(RESULT, tmp_path)
    (tmp_path / ".aside-12345678-x.json").write_text("half")
    found = load_all(tmp_path)
    assert (len(found.results), len(found.unreadable)) == (1, 0)


def test_a_bad_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadInput, match=r"bad\.json"):
        load_each([tmp_path / "bad.json"])
