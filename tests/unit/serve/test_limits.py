from __future__ import annotations

from typing import Any

import pytest

from edgellm.records.keys import KeyLimits
from edgellm.serve.caller import Caller
from edgellm.serve.limits import Allowances
from edgellm.serve.outcome import Outcome
from edgellm.serve.problems import Problem


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(clock)


def limited(**limits: int) -> Caller:
    return Caller("taro", KeyLimits(**limits))


def refused(allowances: Allowances, caller: Caller) -> tuple[str | None, int]:
    """(code, Retry-After) of a request that must be refused."""
    with pytest.raises(Problem) as caught:
        allowances.enter(caller)
    assert caught.value.status == 429
    return caught.value.body.error.code, int(caught.value.headers["Retry-After"])


def spent(tokens: int, caller: str = "taro") -> Outcome:
    given: dict[str, Any] = {"request_id": "r", "endpoint": "/", "caller": caller, "model": "m", "status": 200}
    return Outcome(**given, ending="answered", arrived=0, e2e_s=1, completion_tokens=tokens)


def test_requests_flow_back_evenly_over_a_minute(allowances: Allowances, clock: Clock) -> None:
    caller = limited(requests_per_minute=6)
    for _ in range(6):
        allowances.enter(caller)
    assert refused(allowances, caller) == ("rate_limit_exceeded", 10)
    clock.now += 9.5
    assert refused(allowances, caller) == ("rate_limit_exceeded", 1)
    clock.now += 0.5
    allowances.enter(caller)
    assert refused(allowances, caller) == ("rate_limit_exceeded", 10)


def test_what_was_refused_is_not_counted(allowances: Allowances, clock: Clock) -> None:
    caller = limited(requests_per_minute=1)
    allowances.enter(caller)
    for _ in range(5):
        refused(allowances, caller)
    clock.now += 60
    allowances.enter(caller)


def test_a_place_is_free_again_when_its_request_has_ended(allowances: Allowances) -> None:
    caller = limited(concurrent_requests=2)
    allowances.enter(caller)
    allowances.enter(caller)
    assert refused(allowances, caller)[0] == "concurrency_limit_exceeded"
    allowances.leave(caller)
    allowances.enter(caller)


def test_tokens_are_charged_when_they_are_known(allowances: Allowances, clock: Clock) -> None:
    caller = limited(output_tokens_per_minute=60)
    allowances.enter(caller)
    allowances.observe(spent(90))
    assert refused(allowances, caller) == ("token_limit_exceeded", 31)
    clock.now += 31
    allowances.enter(caller)


def test_one_key_takes_nothing_from_another(allowances: Allowances) -> None:
    caller = limited(requests_per_minute=1)
    allowances.enter(caller)
    allowances.observe(spent(1000, caller="hanako"))
    refused(allowances, caller)
    allowances.enter(Caller("hanako", KeyLimits(requests_per_minute=1)))


def test_a_key_without_limits_is_never_refused(allowances: Allowances) -> None:
    for _ in range(1000):
        allowances.enter(Caller("taro"))


def test_a_limit_that_is_changed_counts_from_the_next_request_on(allowances: Allowances) -> None:
    for _ in range(3):
        allowances.enter(limited(requests_per_minute=3))
    refused(allowances, limited(requests_per_minute=3))
    allowances.enter(limited(requests_per_minute=10))
