"""One test again and again for minutes: what the machine gives when it is warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from edgellm.bench.engine import Bench, Case
from edgellm.bench.samples import Sample
from edgellm.records.bench import Window

WINDOWS = 120  # about so many of a whole run, none shorter than this
LEAST_WINDOW_S = 2.0
NOTABLE_DROP = 0.05


@dataclass(frozen=True)
class Stretch:
    """Runs one after another. Times are those of `time.monotonic`."""

    begin_s: float
    end_s: float
    tokens_per_s: float  # of the timed parts


def sustained(
    bench: Bench, case: Case, seconds: float, on_progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Stretch]:  # fmt: skip
    """Run the case for that long, in stretches of a few seconds; a run that has begun is brought to its end."""
    window_s = max(LEAST_WINDOW_S, seconds / WINDOWS)
    began = end = clock()
    found: list[Stretch] = []
    while end - began < seconds:
        begin, timed_s, runs = end, 0.0, 0
        while end - begin < window_s:
            timed_s += bench.run(case)
            runs += 1
            end = clock()
            if on_progress:
                on_progress(min(int(end - began), int(seconds)), int(seconds))
        found.append(Stretch(begin, end, runs * case.all_tokens / timed_s))
    bench.clear()
    return found


def windows_of(stretches: Sequence[Stretch], samples: Sequence[Sample], gpu: int | None = None) -> tuple[Window, ...]:
    """With the clock and the highest temperature of the samples of each stretch: of a GPU by number, else of the
    processor."""
    began = stretches[0].begin_s if stretches else 0.0
    found = []
    for stretch in stretches:
        inside = [s for s in samples if stretch.begin_s <= s.at_s <= stretch.end_s]
        clocks = [s.clock_mhz if gpu is None else s.gpu_clock_mhz[gpu] for s in inside]
        degrees = [s.temperature_c if gpu is None else s.gpu_temperature_c[gpu] for s in inside]
        found.append(
            Window(
                start_s=round(stretch.begin_s - began, 3), end_s=round(stretch.end_s - began, 3),
                tokens_per_s=stretch.tokens_per_s, clock_mhz=mean(known) if (known := list(numbers(clocks))) else None,
                temperature_c=max(numbers(degrees), default=None),
            )
        )  # fmt: skip
    return tuple(found)


def numbers(values: Sequence[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def thirds(windows: Sequence[Window]) -> tuple[float, float]:
    """Tokens a second in the first third of the time and in the last one, which counts as the steady state."""
    end = windows[-1].end_s
    first = [w for w in windows if w.start_s < end / 3]
    last = [w for w in windows if w.end_s > end * 2 / 3]
    return weighted(first), weighted(last)


def weighted(windows: Sequence[Window]) -> float:
    lengths = [w.end_s - w.start_s for w in windows]
    return sum(w.tokens_per_s * s for w, s in zip(windows, lengths, strict=True)) / sum(lengths)


def told(case: Case, windows: Sequence[Window]) -> dict[str, Any]:
    """What a sustained run showed, for the conditions of a result."""
    first, steady = thirds(windows)
    change = steady / first - 1
    if change < -NOTABLE_DROP:
        words = f"{case.name} fell by {-change:.0%} from the first to the last third of {windows[-1].end_s:.0f} s"
    else:
        words = f"{case.name} held its speed over {windows[-1].end_s:.0f} s (last third {change:+.1%} of the first)"
    return {
        "test": case.name, "first_third_tokens_per_s": first, "steady_tokens_per_s": steady, "change": change,
        "words": words,
    }  # fmt: skip
