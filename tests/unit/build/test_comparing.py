"""Two results are compared test by test, and what else differs is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_results import BUSY, CPU, GPU, dense, load_result, mixture, records
from demo_results import sample
from edgellm.build.comparing import compare
from edgellm.errors import BadInput, UsageError
from edgellm.records.bench import EngineBench
from edgellm.records.comparison import Comparison
from edgellm.store.results import Result, save


def compared(folder: Path, a: Result, b: Result, test: str | None = None) -> Comparison:
    return compare(save(a, folder / "a.json"), save(b, folder / "b.json"), test)


def test_the_first_row_is_the_decode_test_and_its_ratio_is_b_over_a(tmp_path: Path) -> None:
    found = compared(tmp_path, dense({1: 5.0}), dense({1: 6.0}))
    assert (found.test, found.verdict) == ("tg128", "B is better")
    assert found.ratio.value == pytest.approx(1.2)
    assert [row.test for row in found.tests] == ["tg128", "pp512"]


def test_equal_results_show_no_difference(tmp_path: Path) -> None:
    found = compared(tmp_path, dense({1: 5.0}), dense({1: 5.0}))
    assert {row.verdict for row in found.tests} == {"no difference seen"}
    assert found.notes == ()


def test_a_test_can_be_picked_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    a, b = dense({1: 5.0, 8: 20.0}), dense({1: 6.0, 8: 10.0})
    assert compared(tmp_path, a, b, "tg128x8").verdict == "B is worse"
    with pytest.raises(UsageError, match="tg128, tg128x8, pp512"):
        compared(tmp_path, a, b, "tg64")


def test_results_without_a_common_test_are_an_error(tmp_path: Path) -> None:
    only = dense({1: 5.0}).model_copy(update={"results": dense({8: 5.0, 1: 1.0}).results[:1]})
    with pytest.raises(UsageError, match="no test in common"):
        compared(tmp_path, only, dense({1: 5.0}).model_copy(update={"results": dense({1: 5.0}).results[:1]}))


def test_unlike_kinds_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"kind engine and .* load"):
        compared(tmp_path, dense({1: 5.0}), load_result(records(5, 0.1, 0.02)))


def test_other_models_machines_settings_and_software_are_noted(tmp_path: Path) -> None:
    a = dense({1: 5.0})
    b = mixture({1: 6.0}, machine=CPU | {"cpu": "Other CPU"}, settings=a.settings | {"repeat": 3})
    b = b.model_copy(update={"conditions": a.conditions | {"engine_build": "llama.cpp b2"}})
    notes = "\n".join(compared(tmp_path, a, b).notes)
    for words in ("the models differ", "Other CPU", "repeat 5 and 3", "llama.cpp b1 and llama.cpp b2"):
        assert words in notes


def test_a_result_that_does_not_hold_is_noted(tmp_path: Path) -> None:
    found = compared(tmp_path, dense({1: 5.0}), dense({1: 5.0}, reasons=[BUSY]))
    assert f"B does not hold: {BUSY}" in found.notes
    assert found.b is not None
    assert not found.b.valid


def test_paired_runs_are_taken_as_pairs(tmp_path: Path) -> None:
    def with_runs(seconds: tuple[float, ...]) -> EngineBench:
        plain = dense({1: 5.0})
        row = plain.results[0].model_copy(update={"seconds": seconds})
        return plain.model_copy(update={"results": [row], "settings": plain.settings | {"pairing": "one"}})

    days = (1.0, 1.5, 2.0, 1.2, 1.8)
    found = compared(tmp_path, with_runs(days), with_runs(tuple(0.95 * d for d in days)))
    assert found.verdict == "B is better"
    assert "pairs" in found.tests[0].how


def test_loads_are_compared_by_resampling_requests(tmp_path: Path) -> None:
    slow, fast = load_result(records(40, 0.4, 0.06)), load_result(records(40, 0.2, 0.06))
    rows = {row.test: row for row in compared(tmp_path, slow, fast).tests}
    assert rows["ttft p50"].ratio.value == pytest.approx(0.5)
    assert rows["ttft p50"].verdict == "B is better"
    assert rows["tpot p50"].verdict == "no difference seen"
    assert rows["output tokens"].verdict == "no difference seen"


def test_goodput_is_compared_under_equal_limits_only(tmp_path: Path) -> None:
    kept, broken = load_result(records(40, 0.4, 0.06)), load_result(records(40, 1.9, 0.06))
    rows = {row.test: row for row in compared(tmp_path, kept, broken).tests}
    assert rows["goodput"].verdict == "B is worse"
    other = broken.model_copy(update={"slo_ms": {"ttft": 100_000.0}})
    assert "goodput" not in {row.test for row in compared(tmp_path, kept, other).tests}


def test_demos_are_compared_type_by_type(tmp_path: Path) -> None:
    found = compared(tmp_path, sample(), sample())
    assert {row.test for row in found.tests} >= {"F16 tg128", "Q4_K_M pp512"}
    assert any(note.startswith("A does not hold: Q3_K_M") for note in found.notes)


def test_folders_are_compared_model_by_model_on_equal_devices(tmp_path: Path) -> None:
    for folder, factor in (("old", 1.0), ("new", 1.5)):
        save(dense({1: 5.0 * factor}), tmp_path / folder)
        save(dense({1: 150.0}, GPU), tmp_path / folder)
    save(mixture({1: 12.0}), tmp_path / "new")
    found = compare(tmp_path / "old", tmp_path / "new", "tg128")
    assert [round(row.ratio.value, 3) for row in found.tests] == [1.5, 1.0]
    assert {row.model for row in found.tests} == {"llm-jp-4-8b Q4_K_M"}
    assert any("only" in note and "llm-jp-4-32b-a3b" in note for note in found.notes)


def test_folders_of_different_devices_are_compared_all_the_same(tmp_path: Path) -> None:
    save(dense({1: 5.0}), tmp_path / "cpu")
    save(dense({1: 150.0}, GPU), tmp_path / "gpu")
    found = compare(tmp_path / "cpu", tmp_path / "gpu")
    assert found.ratio.value == pytest.approx(30.0)
    assert any("the machines differ" in note for note in found.notes)


def test_of_several_results_of_a_model_the_newest_valid_one_counts(tmp_path: Path) -> None:
    save(dense({1: 5.0}), tmp_path / "old")
    save(dense({1: 6.0}, created="2026-11-22T10:00:00Z"), tmp_path / "new")
    save(dense({1: 7.0}, created="2026-11-22T11:00:00Z"), tmp_path / "new")
    save(dense({1: 99.0}, created="2026-11-22T12:00:00Z", reasons=[BUSY]), tmp_path / "new")
    assert compare(tmp_path / "old", tmp_path / "new", "tg128").ratio.value == pytest.approx(1.4)


def test_a_file_in_a_folder_that_is_no_result_is_noted(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save(dense({1: 5.0}), tmp_path / folder)
    (tmp_path / "b" / "half.json").write_text("{")
    assert any("half.json was passed over" in note for note in compare(tmp_path / "a", tmp_path / "b").notes)


def test_a_file_and_a_folder_are_not_compared(tmp_path: Path) -> None:
    path = save(dense({1: 5.0}), tmp_path / "a.json")
    with pytest.raises(UsageError, match="two files or two folders"):
        compare(path, tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no result file"):
        compare(tmp_path / "a.json", tmp_path / "b.json")
