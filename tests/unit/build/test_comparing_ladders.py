"""Two ladders are compared type by type in pairs of documents, and only where they are of one model and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgellm.build.comparing import compare
from edgellm.errors import UsageError
from edgellm.records.comparison import Comparison
from edgellm.store.results import load, save
from ladder_results import ladder, row


def compared(folder: Path, **changed: Any) -> Comparison:
    return compare(save(ladder(), folder / "a.json"), save(ladder(**changed), folder / "b.json"))


def test_a_ladder_is_kept_and_read_whole(tmp_path: Path) -> None:
    assert load(save(ladder(), tmp_path / "results")) == ladder()
    (file,) = (tmp_path / "results").rglob("*.json")
    assert file.name.endswith("tiny-ja-ladder.json")


def test_a_small_loss_in_every_document_is_seen_in_pairs(tmp_path: Path) -> None:
    found = compared(tmp_path, factor=1.05)
    by_test = {each.test: each for each in found.tests}
    assert set(by_test) == {f"{t} {m}" for t in ("Q2_K", "Q4_K_M", "Q8_0") for m in ("mean KLD", "bits per byte")}
    one = by_test["Q4_K_M mean KLD"]
    assert one.ratio is not None
    assert one.difference is not None
    assert one.ratio.value == pytest.approx(1.05)
    assert one.difference.value == pytest.approx(one.b - one.a)
    assert (one.verdict, one.better) == ("B is worse", "lower")
    assert one.a == ladder().rows[1].mean_kld.value  # of the documents that gates look at


def test_the_same_again_shows_no_difference(tmp_path: Path) -> None:
    assert {each.verdict for each in compared(tmp_path).tests} == {"no difference seen"}


def test_other_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="because the texts, or their tokens, differ"):
        compared(tmp_path, texts_sha256="sha256:2")


def test_another_reference_is_refused(tmp_path: Path) -> None:
    other = row("Q4_K_M", 4_690_000, 0.009)
    assert other.sums is not None
    nats = tuple(2 * n for n in other.sums.reference_nats)
    other = other.model_copy(update={"sums": other.sums.model_copy(update={"reference_nats": nats})})
    with pytest.raises(UsageError, match="against the same reference"):
        compared(tmp_path, rows=[other])
