"""Who sends a request, as the gate at the door found out."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

from edgellm.records.keys import KeyLimits

IN_SCOPE = "edgellm.caller"


@dataclass(frozen=True)
class Caller:
    name: str = ""  # of the key; "" where no keys are asked for
    limits: KeyLimits = KeyLimits()
    person: str = ""  # on whose behalf, where the key belongs to a service that says so

    @property
    def user(self) -> str:
        """What the scheduler is fair between."""
        return f"{self.name}/{self.person}" if self.person else self.name


ANYBODY = Caller()


def caller_of(request: Request) -> Caller:
    return caller_in(request.scope)


def caller_in(scope: Scope) -> Caller:
    found = scope.get(IN_SCOPE, ANYBODY)
    assert isinstance(found, Caller)
    return found
