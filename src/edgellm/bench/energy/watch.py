"""The energy of a run, above what the idle machine takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgellm.bench.energy.sources import Recorder, Source
from edgellm.records.bench import EnergyUse

ASK_EVERY_S = 30.0  # so that no counter can begin anew twice unseen
WHOLE_MACHINE = ("meter:", "jetson")  # sources that count everything, in the order in which they are believed


@dataclass(frozen=True)
class Span:
    """A stretch of time: by the clock for durations, and by the time of day for a meter's file."""

    begin_s: float
    begin_epoch_s: float

    @classmethod
    def begin(cls) -> Span:
        return cls(time.perf_counter(), time.time())

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begin_s


class EnergyWatch:
    """`measure_idle()` once, then `start()` and `stop()` around each run. Without a source nothing is measured and
    `stop()` gives an empty tuple.

    `close()` ends the sources.
    """

    def __init__(self, sources: Sequence[Source], idle_s: float = 3.0) -> None:
        self._sources, self._idle_s = list(sources), idle_s
        self._idle_watts: list[float] | None = None
        self._idle_span: tuple[float, float] | None = None  # for sources that are read afterwards
        self._span: Span | None = None
        self._begin: list[float] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def measure_idle(self) -> None:
        """What the machine takes while this program waits for `idle_s` seconds, with the model loaded if it is."""
        if not self._sources:
            return
        span, begin = Span.begin(), self._counts()
        time.sleep(self._idle_s)
        end, seconds = self._counts(), span.seconds
        self._idle_span = (span.begin_epoch_s, span.begin_epoch_s + seconds)
        self._idle_watts = [(late - early) / seconds for early, late in zip(begin, end, strict=True)]

    def start(self) -> None:
        """Begin a run; measures the idle machine first if nobody has."""
        if not self._sources:
            return
        if self._idle_watts is None:
            self.measure_idle()
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep_asking, name="energy", daemon=True)
        self._thread.start()
        self._begin, self._span = self._counts(), Span.begin()

    def stop(self) -> tuple[EnergyUse, ...]:
        """What each source counted since `start()`. Raises BadInput if a meter's file does not cover the run."""
        if self._span is None or self._idle_watts is None or self._idle_span is None:
            return ()
        span, seconds, end = self._span, self._span.seconds, self._counts()
        self._span = None
        self._ended.set()
        if self._thread:
            self._thread.join()
        found = []
        for i, source in enumerate(self._sources):
            joules, idle_watts = end[i] - self._begin[i], self._idle_watts[i]
            if isinstance(source, Recorder):
                first, last = self._idle_span
                idle_watts = source.between(first, last) / (last - first)
                joules = source.between(span.begin_epoch_s, span.begin_epoch_s + seconds)
            found.append(
                EnergyUse(
                    source=source.name, seconds=seconds, joules=joules, idle_watts=idle_watts,
                    joules_above_idle=joules - idle_watts * seconds,
                )
            )  # fmt: skip
        return tuple(found)

    def close(self) -> None:
        self._ended.set()
        for source in self._sources:
            source.close()

    def _counts(self) -> list[float]:
        """Of every source; 0 for those that are read afterwards."""
        with self._lock:
            return [0.0 if isinstance(source, Recorder) else source.joules() for source in self._sources]

    def _keep_asking(self) -> None:
        while not self._ended.wait(ASK_EVERY_S):
            self._counts()


def joules_above_idle(uses: Sequence[EnergyUse]) -> float | None:
    """One figure for the whole run, nothing counted twice; None without a source.

    A meter at the plug counts everything, and so do the rails of a Jetson; otherwise processors and GPUs count apart.
    """
    for whole in WHOLE_MACHINE:
        for use in uses:
            if use.source.startswith(whole):
                return use.joules_above_idle
    return sum(use.joules_above_idle for use in uses) if uses else None
