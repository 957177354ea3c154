"""Responses of others, from a file: their scores, and how verdicts that stand beside them compare with ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgellm.evals.ifeval_ja.files import Given, Item
from edgellm.evals.ifeval_ja.scoring import Answer, outcome
from edgellm.evals.run import Outcome
from edgellm.records.evals import ItemRecord

NAMED = 10  # keys that a note lists before it says how many more


def given_outcome(items: Sequence[Item], given: Mapping[str, Given], strangers: int) -> Outcome:
    """Scores of responses from a file, with notes on what was missing and how verdicts beside them compare."""
    answers = {key: Answer(row.response, {}) for key, row in given.items()}
    absent = [item.key for item in items if item.key not in given or given[item.key].response is None]
    notes = []
    if absent:
        notes.append(
            f"{len(absent)} of {len(items)} prompts have no response and count as not followed: {named(absent)}"
        )
    if strangers:
        rows = (
            "1 row answers no prompt of the items and is"
            if strangers == 1
            else f"{strangers} rows answer no prompt of the items and are"
        )
        notes.append(f"{rows} left out")
    found = outcome(items, answers, notes)
    compared = _beside(found.records, given)
    measures = {**found.measures, "prompts_without_response": float(len(absent)), **compared.measures}
    return replace(found, measures=measures, notes=[*found.notes, *compared.notes])


@dataclass(frozen=True)
class Compared:
    measures: Mapping[str, float]
    notes: Sequence[str]


def _beside(records: Sequence[ItemRecord], given: Mapping[str, Given]) -> Compared:
    """How our verdicts compare with those that the file has; it does not say whether those are strict or loose, so
    the mode that agrees more is taken for theirs."""
    with_verdicts = [(r, given[r.id].verdicts) for r in records if r.id in given and given[r.id].verdicts is not None]
    if not with_verdicts:
        return Compared({}, ())
    unequal = {
        mode: [r.id for r, theirs in with_verdicts if tuple(r.detail[mode]) != theirs] for mode in ("strict", "loose")
    }
    equal = {
        mode: sum(a == b for r, theirs in with_verdicts for a, b in zip(r.detail[mode], theirs or (), strict=True))
        for mode in ("strict", "loose")
    }
    mode = max(equal, key=lambda name: equal[name])
    total = sum(len(theirs or ()) for _, theirs in with_verdicts)
    note = f"the file's own verdicts are taken for {mode} ones: {equal[mode]} of {total} are equal to ours"
    if unequal[mode]:
        note += f"; they differ at {named(unequal[mode])}"
    measures = {f"verdicts_equal_{name}": float(count) for name, count in equal.items()}
    return Compared({"verdicts_given": float(total), **measures}, (note,))


def named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(keys[:NAMED]) + more
