"""When requests are sent: by so many clients that wait for their answers, or at times that no answer changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Arrival = Literal["closed", "constant", "poisson"]


@dataclass(frozen=True)
class Load:
    """One rate or one concurrency, until `duration_s` has passed or `requests` are sent, whichever comes first.

    `arrival` is `closed` with a concurrency, else the rate's: requests (with several turns: conversations) a second.
    """

    arrival: Arrival
    concurrency: int | None = None
    rate_per_s: float | None = None
    duration_s: float | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        assert (self.arrival == "closed") == (self.concurrency is not None) == (self.rate_per_s is None)
        assert self.duration_s is not None or self.requests is not None, "a load without an end"

    @property
    def label(self) -> str:
        return f"c={self.concurrency}" if self.concurrency is not None else f"rate={self.rate_per_s:g}"

    def doubled(self) -> Load:
        """The next step of a sweep; a number of requests doubles as well, so that each step takes about as long."""
        requests = None if self.requests is None else self.requests * 2
        if self.concurrency is not None:
            return replace(self, concurrency=self.concurrency * 2, requests=requests)
        assert self.rate_per_s is not None
        return replace(self, rate_per_s=self.rate_per_s * 2, requests=requests)


def arrival_times(load: Load, seed: int) -> list[float]:
    """Seconds after the start at which an open loop's requests are to be sent, ascending and the same for a seed.

    `constant`: every 1/rate seconds, from 0 on. `poisson`: the gaps are independent and exponentially distributed with
    mean 1/rate, so that arrivals know nothing of each other.
    """
    assert load.rate_per_s is not None
    gap = 1 / load.rate_per_s
    most = load.requests
    if most is None:  # six standard deviations beyond the expected number
        assert load.duration_s is not None
        expected = load.duration_s * load.rate_per_s
        most = int(expected + 6 * expected**0.5 + 16)
    if load.arrival == "constant":
        times = np.arange(most) * gap
    else:
        times = np.cumsum(np.random.default_rng(seed).exponential(gap, most))
    if load.duration_s is not None:
        times = times[times < load.duration_s]
    return [float(each) for each in times]
