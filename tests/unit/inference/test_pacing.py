"""The pace of reading on machines whose costs are a formula: the bound holds, and what it allows is used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgellm.inference.pacing import ReadingPace

BOUND_S = 0.06
FEWEST = 16


def read(pace: ReadingPace, cost_s: Callable[[int, int], float], tokens: int, start: int = 0) -> list[float]:
    """Seconds of each piece of a prompt of so many tokens."""
    took, depth = [], start
    while depth < start + tokens:
        length = min(pace.tokens(depth), start + tokens - depth)
        took.append(cost_s(depth, length))
        pace.observe(depth, length, took[-1])
        depth += length
    return took


def growing(depth: int, length: int) -> float:
    """A small model on a processor: 0.7 ms a token, and twice that after 4,000."""
    return length * 0.7e-3 * (1 + (depth + length / 2) / 4000)


def test_it_begins_with_a_few_tokens_while_nothing_is_known() -> None:
    assert ReadingPace(BOUND_S, FEWEST).tokens(0) == FEWEST


def test_every_piece_of_a_long_prompt_stays_within_the_bound_and_most_of_it_is_used() -> None:
    took = read(ReadingPace(BOUND_S, FEWEST), growing, 4000)
    assert max(took) <= BOUND_S
    assert np.mean(took[5:-1]) >= 0.8 * BOUND_S


def test_the_bound_holds_when_the_next_prompt_begins_deep_in_a_sequence_or_at_its_start() -> None:
    pace = ReadingPace(BOUND_S, FEWEST)
    read(pace, growing, 4000)
    assert max(read(pace, growing, 1000, start=3000)) <= BOUND_S
    assert max(read(pace, growing, 1000, start=0)) <= BOUND_S
    assert max(read(pace, growing, 1000, start=3000)) <= BOUND_S


def test_a_machine_whose_times_vary_breaks_the_bound_in_one_piece_of_a_hundred_at_most() -> None:
    rng = np.random.default_rng(7)
    pace = ReadingPace(BOUND_S, FEWEST)

    def uneven(depth: int, length: int) -> float:
        return growing(depth, length) * rng.lognormal(0.0, 0.08)

    read(pace, uneven, 4000)
    took = np.concatenate([read(pace, uneven, 4000) for _ in range(5)])
    assert len(took) > 200
    assert np.quantile(took, 0.99) <= BOUND_S


def test_a_machine_that_becomes_faster_or_slower_is_followed() -> None:
    pace = ReadingPace(BOUND_S, FEWEST)
    read(pace, lambda _, length: length * 1e-3, 4000)
    read(pace, lambda _, length: length * 3e-3, 4000)
    assert pace.tokens(0) * 3e-3 <= BOUND_S
    read(pace, lambda _, length: length * 0.5e-3, 60_000)
    assert pace.tokens(0) * 0.5e-3 >= 0.8 * BOUND_S


def test_the_short_ends_of_prompts_say_nothing_about_long_pieces() -> None:
    def accelerator(_: int, length: int) -> float:
        return 8e-3 + length * 1e-5  # nearly all of it is what every call costs

    pace = ReadingPace(BOUND_S, FEWEST)
    for _ in range(20):
        read(pace, accelerator, 2000)
        pace.observe(2000, 3, accelerator(2000, 3))
    assert pace.tokens(0) >= 1000


@pytest.mark.parametrize("token_s", [0.02, 5.0])
def test_on_the_slowest_machine_a_prompt_still_goes_on(token_s: float) -> None:
    pace = ReadingPace(BOUND_S, FEWEST)
    read(pace, lambda _, length: length * token_s, 100)
    assert pace.tokens(0) == FEWEST


def test_each_of_a_crowd_may_add_the_bound_for_each_of_it() -> None:
    pace = ReadingPace(BOUND_S, FEWEST)
    for _ in range(8):
        pace.observe(0, 400, 0.4)
    alone = pace.tokens(0)
    assert alone * 1e-3 <= BOUND_S
    assert pace.tokens(0, 3) == pytest.approx(9 * alone, rel=0.02)


def test_a_prompt_that_has_waited_long_is_read_in_longer_pieces() -> None:
    pace = ReadingPace(BOUND_S, FEWEST)
    for _ in range(8):
        pace.observe(0, 1000, 1.0)
    assert pace.tokens(0, waited_s=2 * BOUND_S) == pace.tokens(0)
    assert pace.tokens(0, waited_s=7.0) == pytest.approx(0.9 * 1750, abs=3)
