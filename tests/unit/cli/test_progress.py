"""Progress in a log, with a clock that the test moves."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO

import pytest

from edgellm.cli.progress import Lines, amount, duration
from edgellm.cli.serving import say


@dataclass
class Log:
    """Plain lines with a clock that stands still until `wait`."""

    now: float = 100.0
    out: StringIO = field(default_factory=StringIO)
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        self.lines = Lines(self.out, clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass in half seconds, as the thread that looks for lines due does."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.lines.tick()

    @property
    def written(self) -> list[str]:
        return self.out.getvalue().splitlines()


def test_work_under_two_seconds_leaves_no_line() -> None:
    log = Log()
    with log.lines.work("convert") as report:
        log.wait(1.5)
        report(10, 10)
    assert log.written == []


def test_long_work_is_said_when_it_gets_long_every_few_seconds_and_at_its_end() -> None:
    log = Log()
    with log.lines.work("convert") as report:
        report(1_000_000, 4_000_000)
        log.wait(6)
        report(2_000_000, 4_000_000)
        log.wait(2)
    assert log.written == [
        "convert: 1M/4M (25%), 2 s, 6 s left",
        "convert: 2M/4M (50%), 7 s, 7 s left",
        "convert: done, 8 s",
    ]


def test_lines_about_very_long_work_become_seldom_but_never_cease() -> None:
    log = Log()
    with log.lines.work("convert"):
        log.wait(3600)
        after_an_hour = len(log.written)
        log.wait(600)
    assert after_an_hour < 90
    assert len(log.written) - after_an_hour == 11  # one a minute, and the end


def test_work_of_unknown_length_is_said_to_go_on() -> None:
    log = Log()
    with log.lines.work("load") as report:
        log.wait(2)
        report(30_000, 0)
        log.wait(5)
    assert log.written == ["load: 2 s", "load: 30k, 7 s", "load: done, 7 s"]


def test_work_within_work_has_lines_of_its_own() -> None:
    log = Log()
    with log.lines.work("bundle"):
        log.wait(1)
        with log.lines.work("digest"):
            log.wait(2)
    assert log.written == ["bundle: 2 s", "digest: 2 s", "digest: done, 2 s", "bundle: done, 3 s"]


def test_work_that_fails_is_not_said_to_be_done_and_has_no_more_lines() -> None:
    log = Log()
    with pytest.raises(ValueError, match="broken"), log.lines.work("convert"):
        log.wait(2)
        raise ValueError("broken")
    log.wait(10)
    assert log.written == ["convert: 2 s"]


def test_a_note_is_said_once() -> None:
    log = Log()
    for _ in range(3):
        log.lines.note("calibrate: reused")
    assert log.written == ["calibrate: reused"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (9_999, "9999"), (10_000, "10k"), (312_400, "312k"), (999_700, "1M"), (4_690_464, "4.69M"),
     (16_000_000_000, "16G")],
)  # fmt: skip
def test_amounts_are_short(count: int, shown: str) -> None:
    assert amount(count) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(2.4, "2 s"), (119, "119 s"), (300, "5 min"), (9000, "2.5 h")])
def test_durations_have_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_log_that_cannot_be_written_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    broken = open(write, "w", buffering=1)  # noqa: SIM115 (closing it raises as well)
    monkeypatch.setattr(sys, "stderr", broken)
    say("the engine serves again")
    Lines(broken).note("something")
    with suppress(OSError):
        broken.close()
