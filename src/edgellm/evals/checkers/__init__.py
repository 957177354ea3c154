"""Scores without a judge: what an answer must come to, checked by rules and, for code, by running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgellm.evals.checkers.code import check_python
from edgellm.evals.checkers.counts import check_count
from edgellm.evals.checkers.numbers import check_number
from edgellm.evals.checkers.outcome import Checked, broken
from edgellm.evals.checkers.structures import check_csv, check_json, check_lines, check_table
from edgellm.evals.checkers.texts import check_contains, check_text
from edgellm.records.evals import ItemStatus

KINDS: Mapping[str, Callable[[Mapping[str, Any], str], Checked]] = {
    "number": check_number,
    "text": check_text,
    "python": check_python,
    "json": check_json,
    "lines": check_lines,
    "table": check_table,
    "csv": check_csv,
    "contains": check_contains,
    "count": check_count,
}


def check(spec: Mapping[str, Any], answer: str, earlier: Sequence[str] = ()) -> Checked:
    """Check one answer by one check. `earlier`: the answers of the turns before, for code that goes on with them.

    An empty answer gets 0. Code gets no score, with the status `unscored`, where it cannot be confined. Raises
    BadInput, by question and turn, for a check that cannot be used.
    """
    kind = str(spec.get("kind"))
    if kind not in KINDS:
        raise broken(spec, f"its kind is {kind!r}; kinds are {', '.join(KINDS)}")
    if not answer.strip():
        return Checked(0.0, "empty", "the answer is empty")
    return check_python(spec, answer, earlier) if kind == "python" else KINDS[kind](spec, answer)


def check_all(specs: Sequence[Mapping[str, Any]], answer: str, earlier: Sequence[str] = ()) -> Checked:
    """The mean of several checks of one answer; no score if any of them cannot be scored."""
    found = [check(spec, answer, earlier) for spec in specs]
    reason = "; ".join(one.reason for one in found if one.reason)
    scores = [one.score for one in found if one.score is not None]
    if len(scores) < len(found) or not scores:
        return Checked(None, "unscored", reason or "there is no check for it")
    status: ItemStatus = "empty" if all(one.status == "empty" for one in found) else "ok"
    return Checked(sum(scores) / len(scores), status, reason)
