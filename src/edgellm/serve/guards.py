"""What stands between the network and the endpoints, from the outside in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.middleware import Middleware

from edgellm.serve.audit import AuditGate, AuditLog
from edgellm.serve.keys import KeyGate, KeyRing
from edgellm.serve.limits import MAX_BODY_BYTES, AllowanceGate, Allowances, BodyGate
from edgellm.serve.outcome import Observer


@dataclass(frozen=True)
class Guards:
    keys: KeyRing | None = None  # None: anybody may ask
    allowances: Allowances = field(default_factory=Allowances)
    max_body_bytes: int = MAX_BODY_BYTES
    max_time_s: float | None = None  # for a request, from its arrival to the end of its answer
    audit: AuditLog | None = None

    def middleware(self) -> list[Middleware]:
        found = [Middleware(BodyGate, max_bytes=self.max_body_bytes)]
        if self.keys is not None:
            found += [Middleware(KeyGate, ring=self.keys), Middleware(AllowanceGate, allowances=self.allowances)]
        if self.audit is not None:
            found.append(Middleware(AuditGate, log=self.audit))
        return found

    def observers(self) -> Sequence[Observer]:
        """Who is told what became of a request."""
        return [self.allowances.observe, *([self.audit.observe] if self.audit is not None else [])]
