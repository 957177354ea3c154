"""What a check found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgellm.errors import BadInput
from edgellm.records.evals import ItemStatus


@dataclass(frozen=True)
class Checked:
    """`score` is from 0 to 1, or None where it could not be had (`unscored`: code, where there is no sandbox)."""

    score: float | None
    status: ItemStatus = "ok"
    reason: str = ""  # why it is not full marks


def passed() -> Checked:
    return Checked(1.0)


def missed(reason: str) -> Checked:
    return Checked(0.0, "ok", reason)


def needed(spec: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A value of a check; raises BadInput where it is missing or of another kind."""
    value = spec.get(name)
    if not isinstance(value, kind):
        raise broken(spec, f"its `{name}` is {'missing' if value is None else f'{value!r}'}")
    return value


def broken(spec: Mapping[str, Any], why: str) -> BadInput:
    of = f"question {spec.get('question_id', '?')}, turn {spec.get('turn', '?')}"
    return BadInput(f"the check of {of} cannot be used, since {why}; mend {json.dumps(spec, ensure_ascii=False)[:200]}")
