"""Who sends a request, as the gate at the door found out."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True)
class Caller:
    name: str = ""  # of the key; "" where no keys are asked for

    @property
    def user(self) -> str:
        """What the scheduler is fair between."""
        return self.name


ANYBODY = Caller()


def caller_of(request: Request) -> Caller:
    found = request.scope.get("edgellm.caller", ANYBODY)
    assert isinstance(found, Caller)
    return found
