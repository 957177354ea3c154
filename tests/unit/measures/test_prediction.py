"""Speeds from shapes: the three things that can hold a model back, and constants that published speeds gave."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from edgellm.build.prediction_check import published_rows
from edgellm.measures.prediction import (
    EXPERT_MODELS,
    PACES,
    Experts,
    Machine,
    Model,
    Pace,
    decode,
    operations,
    prefill,
    with_even_routers,
)
from edgellm.measures.prediction_fit import USUAL, fit, left_out_errors
from edgellm.measures.published import Row
from edgellm.measures.traffic import Shape, Weight

# A billion weights in layers and a tenth of that in the output, one byte each; 1,000 bytes of cache a token.
DENSE = Model(Shape([Weight("layers.weight", 10**9, 10**9), Weight("output.weight", 10**8, 10**8)], kv_bytes=1000), 10)
MIXTURE = Model(
    Shape([Weight("x_exps.weight", 128 * 10**7, 128 * 10**7)], experts=128, experts_used=8), 10,
    experts=Experts(0.5, 0.8),
)  # fmt: skip
MACHINE = Machine(100e9, 10e12, Pace(0.5, 0.25, 1e-3))


@cache
def published() -> list[Row]:
    return published_rows()


def test_a_token_takes_its_bytes_over_the_bandwidth_and_a_time_for_every_layer() -> None:
    found = decode(MACHINE, DENSE, depth=100_000)
    assert found.parts.memory_s == pytest.approx((1.1e9 + 1e8) / 50e9)
    assert found.parts.overhead_s == pytest.approx(0.010)
    assert found.tokens_per_s == pytest.approx(1 / (0.024 + 0.010))
    assert found.bound == "memory"


def test_many_sequences_together_are_bound_by_what_they_compute() -> None:
    few, many = decode(MACHINE, DENSE, 8), decode(MACHINE, DENSE, 64)
    assert (few.bound, many.bound) == ("memory", "compute")
    assert many.parts.math_s == pytest.approx(64 * 2 * 1.1e9 / 2.5e12)


def test_a_processor_reads_and_multiplies_in_turn() -> None:
    found = decode(replace(MACHINE, pace=replace(MACHINE.pace, overlaps=False)), DENSE, 8)
    assert found.parts.seconds == pytest.approx(1.1e9 / 50e9 + 8 * 2 * 1.1e9 / 2.5e12 + 0.010)
    assert decode(MACHINE, DENSE, 8).parts.seconds == pytest.approx(1.1e9 / 50e9 + 0.010)


def test_next_tokens_of_several_sequences_are_multiplied_more_slowly_than_a_prompt_but_not_by_experts() -> None:
    slower = replace(MACHINE, pace=replace(MACHINE.pace, batch_share=0.5))
    for model, times in ((DENSE, 2), (MIXTURE, 1)):
        assert decode(slower, model, 8).parts.math_s == pytest.approx(times * decode(MACHINE, model, 8).parts.math_s)
        assert decode(slower, model).parts.math_s == decode(MACHINE, model).parts.math_s
        assert prefill(slower, model).parts.math_s == prefill(MACHINE, model).parts.math_s


def test_a_small_model_on_a_fast_machine_is_bound_by_its_layers() -> None:
    assert decode(replace(MACHINE, bandwidth=1e12), DENSE).bound == "overhead"


def test_a_prompt_has_one_output_and_is_read_in_passes_of_512() -> None:
    found = prefill(MACHINE, DENSE, 1024)
    assert found.parts.overhead_s == pytest.approx(2 * 0.010)
    assert found.parts.math_s == pytest.approx((1024 * 2e9 + 2e8) / 2.5e12)
    assert found.bound == "compute"


def test_a_prompt_of_few_tokens_is_bound_by_the_weights() -> None:
    assert prefill(MACHINE, DENSE, 4).bound == "memory"


def test_layers_with_a_window_read_no_more_than_it() -> None:
    windowed = replace(DENSE, window=100, window_share=0.5)
    assert windowed.seen(50) == 50
    assert windowed.seen(1000) == 0.5 * 1000 + 0.5 * 100
    assert decode(MACHINE, windowed, depth=10**6).tokens_per_s > decode(MACHINE, DENSE, depth=10**6).tokens_per_s


def test_uneven_routers_touch_fewer_experts_only_where_tokens_come_together() -> None:
    even = with_even_routers(MIXTURE)
    assert decode(MACHINE, MIXTURE).parts == decode(MACHINE, even).parts
    assert decode(MACHINE, MIXTURE, 8).parts.memory_s < decode(MACHINE, even, 8).parts.memory_s


def test_products_of_a_prompt_with_experts_count_as_slower() -> None:
    assert operations(MIXTURE, 10, 0, 10) == pytest.approx(2 * 10 * 8 * 10**7)
    assert operations(MIXTURE, 10, 0, 1) == pytest.approx(2 * 10 * 8 * 10**7 / 0.5)


def test_the_constants_are_those_that_the_published_speeds_give() -> None:
    paces, experts = fit(published())
    assert paces == PACES
    assert experts == EXPERT_MODELS


def test_a_fit_finds_the_constants_that_speeds_were_made_with() -> None:
    true = Pace(0.6, 0.2, 50e-6)
    rows = [row for row in published() if row.processor == "geforce" and not row.model.shape.experts]
    made = [
        replace(row, speed=row.speed.model_copy(update={"tokens_per_s": row.predicted(true)})) for row in rows
    ]  # fmt: skip
    found = fit(made)[0]["geforce"]
    assert found.memory_share == pytest.approx(true.memory_share, abs=0.02)
    assert found.layer_s == pytest.approx(true.layer_s, abs=5e-6)
    assert found.math_share == pytest.approx(true.math_share, rel=0.06)


def test_a_kind_of_processor_without_speeds_gets_the_usual_constants() -> None:
    assert fit([])[0]["apple"] == USUAL


def test_what_stands_apart_does_not_change_the_fit() -> None:
    rows = published()
    assert any(not row.counts for row in rows)
    assert fit([row for row in rows if row.counts]) == fit(rows)


def test_a_device_that_is_left_out_has_no_say_in_its_own_error() -> None:
    rows = published()
    name = "mac-m1"
    slower = [
        replace(row, speed=row.speed.model_copy(update={"tokens_per_s": row.speed.tokens_per_s / 100}))
        if row.device.name == name
        else row
        for row in rows
    ]
    errors = {n: e for n, e in left_out_errors(slower).items() if rows[n].device.name == name}
    usual = {n: e for n, e in left_out_errors(rows).items() if rows[n].device.name == name}
    for number, error in errors.items():
        predicted = (1 + error) * slower[number].speed.tokens_per_s
        assert error > 50
        assert predicted == pytest.approx(rows[number].speed.tokens_per_s, rel=usual[number] + 0.01)
