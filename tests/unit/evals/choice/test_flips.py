"""Flips: what changed between two models that a mean does not show."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.choice.flips import flips, flips_of, mcnemar, own_items
from edgellm.evals.local_model import LocalModel
from edgellm.inference.target import Target
from edgellm.records.evals import ItemRecord
from tiny_checkpoints import TINY_JA


def records(scores: dict[str, float | None], chosen: dict[str, int] | None = None) -> list[ItemRecord]:
    return [
        ItemRecord(id=name, score=score, detail={"chosen": (chosen or {}).get(name, 0)})
        for name, score in scores.items()
    ]  # fmt: skip


def test_flips_are_counted_in_both_directions_where_the_means_are_the_same() -> None:
    found = flips(records({"a": 1, "b": 0, "c": 1, "d": 0}), records({"a": 0, "b": 1, "c": 1, "d": 0}))
    assert (found.to_wrong, found.to_right) == (("a",), ("b",))
    assert (found.right_before, found.right_after, found.count, found.percent) == (2, 2, 2, 50.0)


def test_the_order_of_the_records_does_not_matter() -> None:
    found = flips(records({"a": 1, "b": 0}), records({"b": 1, "a": 1}))
    assert found.to_right == ("b",)


def test_a_change_from_one_wrong_answer_to_another_is_no_flip_but_is_counted() -> None:
    found = flips(records({"a": 0}, {"a": 1}), records({"a": 0}, {"a": 2}))
    assert (found.count, found.other_answers) == (0, 1)


def test_items_without_a_score_are_left_out() -> None:
    found = flips(records({"a": 1, "b": None}), records({"a": 0, "b": 1}))
    assert (found.items, found.count) == (1, 1)


def test_results_of_other_items_are_refused() -> None:
    with pytest.raises(UsageError, match="not of the same items"):
        flips(records({"a": 1}), records({"b": 1}))


def test_mcnemars_p_is_that_of_every_way_in_which_coins_can_fall() -> None:
    for one, other in itertools.product(range(7), repeat=2):
        n = one + other
        falls = [sum(coins) for coins in itertools.product((0, 1), repeat=n)]
        as_uneven = sum(abs(2 * heads - n) >= abs(one - other) for heads in falls) / len(falls)
        assert mcnemar(one, other) == pytest.approx(as_uneven)


def test_a_model_has_no_flips_against_itself_and_a_coarse_type_has_some(
    tiny_ja_model: LocalModel, tiny_ja_f16: Path, tmp_path: Path
) -> None:
    path = tmp_path / "coarse.gguf"
    quantize(tiny_ja_f16, path, "Q2_K")
    coarse = Target("coarse", "gguf", path, "gguf", path, TINY_JA)
    items = own_items()[:6]
    heard: list[tuple[int, int]] = []
    with LocalModel(coarse, RuntimeOptions(threads=1)) as model:
        found = flips_of(
            tiny_ja_model, {"same": tiny_ja_model, "coarse": model}, items, lambda *done: heard.append(done)
        )  # fmt: skip
    assert found["same"].count == found["same"].other_answers == 0
    assert found["coarse"].other_answers > 0
    assert heard[-1] == (18, 18)
