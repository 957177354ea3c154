"""How a child process ended, in words."""

from __future__ import annotations

import signal

import pytest

from edgellm.engines.deaths import how_it_ended


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "was killed, most likely because memory ran out"),
        (-signal.SIGABRT, "died (SIGABRT), saying “a.cpp:1: GGML_ASSERT failed”"),
        (-(signal.SIGRTMIN + 6), f"died (signal {signal.SIGRTMIN + 6}), saying “a.cpp:1: GGML_ASSERT failed”"),
        (1, "died (exit code 1), saying “a.cpp:1: GGML_ASSERT failed”"),
    ],
)
def test_a_death_is_told_with_its_signal_and_the_line_that_speaks_of_a_failure(code: int, words: str) -> None:
    assert how_it_ended(code, ["loading", "/src/a.cpp:1: GGML_ASSERT  failed", "frame 1"]) == words
