"""Which experts calibration reached: said of every matrix, a reason to refuse only where it is required."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgellm.build.order import Order, settle
from edgellm.engines.gguf.imatrix_file import Entry, Imatrix, write_imatrix
from edgellm.errors import GateFailed, UsageError
from edgellm.records.results import Verdict
from edgellm.stages.coverage import CoverageRule, check_coverage, coverage_of
from edgellm.store import catalogue

COUNTS = {0: [100, 64, 63, 0], 1: [70, 70, 70, 70]}


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    entries = {"blk.0.attn_q.weight": Entry(np.ones((1, 8), np.float32), np.full(1, 140, np.float32))}
    for layer, counts in COUNTS.items():
        for part in ("gate", "up", "down"):
            entries[f"blk.{layer}.ffn_{part}_exps.weight"] = Entry(
                np.ones((4, 8), np.float32), np.asarray(counts, np.float32)
            )
    write_imatrix(tmp_path / "imatrix.gguf", Imatrix(entries, 1, 512))
    return tmp_path / "imatrix.gguf"


def test_tokens_are_counted_by_layer_and_expert_and_those_under_the_threshold_named(matrix: Path) -> None:
    found = coverage_of(matrix)
    assert found.tokens == COUNTS
    assert found.missed == [(0, 2, 63), (0, 3, 0)]
    assert (found.experts, found.share) == (8, 0.75)
    assert found.words == "2 of 8 experts saw fewer than 64 tokens: layer 0 expert 2 (63), layer 0 expert 3 (0)"
    assert coverage_of(matrix, threshold=1).missed == [(0, 3, 0)]


def test_the_check_informs_unless_a_share_is_required(matrix: Path) -> None:
    (check,) = check_coverage(matrix, CoverageRule())
    assert (check.name, check.passed, check.value, check.limit) == ("expert coverage", True, 0.75, None)
    (check,) = check_coverage(matrix, CoverageRule(required=0.75))
    assert check.passed
    with pytest.raises(GateFailed, match=r"reached 75\.0% .* 80\.0% are required .*layer 0 expert 2") as refused:
        check_coverage(matrix, CoverageRule(required=0.8))
    assert isinstance(refused.value.verdict, Verdict)
    assert [(c.name, c.passed) for c in refused.value.verdict.checks] == [("expert coverage", False)]


def test_a_dense_model_has_no_experts_to_reach(tmp_path: Path) -> None:
    entry = Entry(np.ones((1, 8), np.float32), np.full(1, 3, np.float32))
    write_imatrix(tmp_path / "imatrix.gguf", Imatrix({"blk.0.attn_q.weight": entry}, 1, 512))
    assert check_coverage(tmp_path / "imatrix.gguf", CoverageRule(required=1.0)) == ()


def test_coverage_cannot_be_required_of_no_calibration(tmp_path: Path) -> None:
    order = Order("tiny-ja", tmp_path / "out", calibration="none", coverage=CoverageRule(required=0.5))
    with pytest.raises(UsageError, match="--require-coverage"):
        settle(order, catalogue.load_recipe("tiny-ja"))
