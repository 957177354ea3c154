"""A target as something that answers requests: runtime, scheduler and what the scheduler works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.constraint import Constraint, Matcher, matchers_of
from edgellm.inference.prefix_cache import PrefixCache
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.speculation import open_speculation
from edgellm.inference.target import Target


@dataclass(frozen=True)
class EngineOrder:
    """What to load and how to serve it; picklable, for a process of its own."""

    target: Target
    options: RuntimeOptions = field(default_factory=RuntimeOptions)
    scheduling: SchedulerOptions = field(default_factory=SchedulerOptions)


class Closeable(Protocol):
    def close(self) -> None: ...


Matchers = Callable[[Constraint], Matcher]


def grammars_of(order: EngineOrder) -> Matchers:
    """What holds the answers of a model to constraints; see `constraint.matchers_of`."""
    return matchers_of(order.target.tokenizer())


@contextmanager
def open_engine(order: EngineOrder, matchers: Matchers | None = None) -> Iterator[Scheduler]:
    """Load the model and serve it in this process; at the end the scheduler is closed and the model freed.

    `matchers` hold answers to constraints; without any they are made for the first request that needs them. Raises what
    `engines.open_runtime`, `PrefixCache` and `open_speculation` raise.
    """
    options = order.options
    if order.scheduling.speculation != "off":
        # Drafts come and go with what steps have taken, and several tokens of an answer get other last bits than one.
        options = replace(options, batch_invariant=False)
    runtime = order.target.open_runtime(options)
    opened: list[Closeable] = [runtime]
    try:
        prefixes = PrefixCache(runtime, order.scheduling)
        opened.insert(0, prefixes)
        speculation = open_speculation(order.scheduling, order.target, runtime.info, options)
        if speculation is not None:
            opened.insert(0, speculation)
        made = cache(lambda: grammars_of(order))
        scheduler = Scheduler(
            runtime,
            order.scheduling,
            matchers=matchers or (lambda constraint: made()(constraint)),
            cache=prefixes,
            drafter=speculation,
        )
    except BaseException:
        for each in opened:
            each.close()
        raise
    try:
        yield scheduler
    finally:
        # Not where an interrupt ends the waiting: a model that still computes must not be freed.
        scheduler.close()
        for each in opened:
            each.close()
