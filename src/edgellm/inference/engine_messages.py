"""What a server's process and an engine's process tell each other; each message is one pickle of one of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgellm.engines.protocol import Logits, RuntimeInfo
from edgellm.errors import EdgellmError
from edgellm.inference.generation import Item, Request, SchedulerState


@dataclass(frozen=True, slots=True)
class Submit:
    number: int  # by which both ends know the request
    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True)
class Embed:
    number: int
    prompts: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Close:
    patience_s: float | None  # for the step that runs


@dataclass(frozen=True, slots=True)
class Said:
    """What whoever runs the server should know; may come at any time."""

    line: str


@dataclass(frozen=True, slots=True)
class Loaded:
    info: RuntimeInfo
    state: SchedulerState


@dataclass(frozen=True, slots=True)
class Refused:
    """The model could not be loaded; the process ends."""

    error: EdgellmError


class Turn(NamedTuple):  # comes with every step, and pickles in half the time of a dataclass
    """Everything that one step gave, and what the scheduler has done by then."""

    items: list[tuple[int, Item]]
    state: SchedulerState


@dataclass(frozen=True, slots=True)
class Embedded:
    number: int
    vectors: Logits | EdgellmError
