"""Every exception that edgellm raises on purpose, in one tree; `cli` turns each into one sentence and an exit code.

EdgellmError                 1   something failed
├── UsageError               2   the request itself cannot be understood or met
│   ├── UnknownFamily            a checkpoint whose class has no family file
│   ├── BadRecipe                a recipe that does not parse or names unknown keys
│   └── PromptTooLong            a prompt that leaves no room for an answer in the context
├── BadInput                 1   an input file is not what it claims to be
├── EngineFailed             1   llama.cpp or onnxruntime refused or died
│   ├── GrammarStuck             nothing can follow that the request's own schema allows
│   └── EngineRestarting         its process died and is being started again; try again later
├── QueueFull                1   as many requests wait as may wait; try again later
├── TimeLimit                1   a request took longer than it may
├── NoSpace                  1   the disk is too small for what was asked
├── NotWritable              1   a folder or disk that was to be written cannot be
├── Busy                     1   another edgellm process works on the same folder
├── MissingExtra             1   an optional dependency is not installed
├── SandboxMissing           1   code of an answer cannot be run here, since it could not be confined
├── DeviceFailed             1   a device of the lab could not be reached, or failed at what it was asked
├── GateFailed               3   a quality gate or verification said no
└── NetworkNeeded            4   the network would be needed and is not allowed

A message is one sentence: what, where, and what to do next.
"""

from __future__ import annotations

import copy
from typing import Self


class EdgellmError(Exception):
    exit_code = 1

    def __init__(self, message: str) -> None:
        """What libraries and files say inside a message may have line ends; a sentence has none."""
        super().__init__(" ".join(line.strip() for line in message.splitlines()))

    def again(self) -> Self:
        """A copy to raise: an error that is kept, and raised each time, would gather everybody's frames."""
        return copy.copy(self)


class UsageError(EdgellmError):
    exit_code = 2


class UnknownFamily(UsageError):
    pass


class BadRecipe(UsageError):
    pass


class PromptTooLong(UsageError):
    pass


class BadInput(EdgellmError):
    pass


class EngineFailed(EdgellmError):
    pass


class GrammarStuck(EngineFailed):
    pass


class EngineRestarting(EngineFailed):
    """`retry_after_s` is about how long that takes."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(EdgellmError):
    """`retry_after_s` is the scheduler's estimate of when a place frees."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TimeLimit(EdgellmError):
    pass


class NoSpace(EdgellmError):
    pass


class NotWritable(EdgellmError):
    pass


class Busy(EdgellmError):
    pass


class MissingExtra(EdgellmError):
    pass


class SandboxMissing(EdgellmError):
    pass


class DeviceFailed(EdgellmError):
    pass


class GateFailed(EdgellmError):
    """Carries the verdict, or whatever else was found, so that `--json` can still print it."""

    exit_code = 3

    def __init__(self, message: str, verdict: object = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class NetworkNeeded(EdgellmError):
    exit_code = 4
