"""The recommendation follows its rule, and what is out of order is said."""

from __future__ import annotations

from typing import Any

import pytest

from edgellm.build.ladder_gate import disorder, failures, gate_for, is_monotone, recommended, rule_words
from edgellm.records.recipe import Gate, Recipe
from edgellm.records.results import Check
from edgellm.records.statistics import Interval
from edgellm.store.catalogue import load_recipe
from ladder_results import row


def recipe(**gates: Gate) -> Recipe:
    return load_recipe("tiny-ja").model_copy(update={"gates": gates})


def test_all_types_are_held_to_the_gate_of_the_recipe_s_own_type() -> None:
    gate, words = gate_for(load_recipe("tiny-ja"))
    assert gate == load_recipe("tiny-ja").gates["Q4_K_M"]
    assert words == "[gates.Q4_K_M] of the recipe tiny-ja"
    assert "upper end of the mean KLD ≤ 0.02, lower end of same top token ≥ 89 %" in rule_words(gate, words)


@pytest.mark.parametrize("gates", [{}, {"default": Gate()}])
def test_a_recipe_without_a_limit_has_the_default_one_and_says_so(gates: dict[str, Gate]) -> None:
    gate, words = gate_for(recipe(**gates))
    assert gate == load_recipe("default").gates["default"]
    assert words == "[gates.default] of the recipe default, since tiny-ja sets no limit"


def failed(gate: Gate, kld: tuple[float, float, float], own: Gate | None = None, *checks: Check) -> list[str]:
    """What is said of a Q4_K_M whose mean KLD has these ends."""
    found = row("Q4_K_M", 1000, 0.01).fidelity
    interval = Interval(value=kld[0], low=kld[1], high=kld[2])
    held = recipe(**({"Q4_K_M": own} if own else {}))
    return failures(found.model_copy(update={"mean_kld": interval}), "Q4_K_M", gate, held, checks)


def test_the_end_of_the_interval_decides() -> None:
    assert failed(Gate(max_mean_kld=0.02), (0.01, 0.009, 0.0199)) == []
    assert failed(Gate(max_mean_kld=0.02), (0.01, 0.009, 0.0201)) == ["mean KLD is 0.0201, limit 0.02"]


def test_what_quantize_would_refuse_by_the_type_s_own_gate_does_not_pass() -> None:
    (said,) = failed(Gate(max_mean_kld=0.1), (0.05, 0.04, 0.06), Gate(max_mean_kld=0.02))
    assert said == "by the gate of Q4_K_M itself mean KLD is 0.06, limit 0.02"


def test_a_broken_file_does_not_pass_whatever_it_predicts() -> None:
    broken = Check(name="vocabulary pieces", passed=False, value=3.0, limit=0.0)
    assert failed(Gate(max_mean_kld=0.1), (0.01, 0.01, 0.01), None, broken) == ["vocabulary pieces is 3.0, limit 0.0"]


def passing(*rows: tuple[str, int, bool]) -> str | None:
    return recommended([row(name, size, 0.01, passes=passes) for name, size, passes in rows])


def test_the_smallest_file_that_passes_is_recommended_wherever_it_stands() -> None:
    assert passing(("Q2_K", 100, False), ("Q4_K_M", 200, True), ("Q8_0", 300, True)) == "Q4_K_M"
    assert passing(("Q5_K_M", 310, True), ("Q6_K", 300, True), ("Q2_K", 100, False)) == "Q6_K"
    assert passing(("Q2_K", 100, False), ("Q8_0", 300, False)) is None


def rows_of(*values: tuple[str, int, float]) -> list[Any]:
    return [row(*each) for each in values]


def test_order_and_disorder_are_told() -> None:
    good = rows_of(("Q2_K", 100, 0.09), ("Q4_K_M", 200, 0.01), ("Q8_0", 300, 0.001))
    assert is_monotone(good)
    assert disorder(good) == []
    larger = rows_of(("Q2_K", 100, 0.01), ("Q4_K_M", 200, 0.09))
    assert not is_monotone(larger)
    (said,) = disorder(larger)
    assert said.startswith("Q4_K_M is larger than Q2_K and loses no less (100 and 200 bytes")
    (said,) = disorder(rows_of(("Q5_K_M", 310, 0.02), ("Q6_K", 300, 0.01)))
    assert said.startswith("Q6_K is no larger than Q5_K_M")
