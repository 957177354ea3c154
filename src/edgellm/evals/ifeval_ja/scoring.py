"""Verdicts on answers, strict and loose, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from edgellm.evals.ifeval_ja.files import Item
from edgellm.evals.ifeval_ja.rules.rule import Instruction
from edgellm.evals.run import Outcome
from edgellm.evals.scoring import is_refusal, mean_score
from edgellm.records.evals import Accuracy, ItemRecord, ItemStatus, Score


@dataclass(frozen=True)
class Verdicts:
    """One an instruction, in their order; None where it could not be checked."""

    strict: tuple[bool | None, ...]
    loose: tuple[bool | None, ...]
    missing: tuple[str, ...] = ()  # libraries that would have been needed


@dataclass(frozen=True)
class Answer:
    """What was said to a prompt, and what is known of how; `text` is None where nothing was."""

    text: str | None
    facts: Mapping[str, Any]  # fields of ItemRecord


def variants(text: str) -> tuple[str, ...]:
    """The answer in the eight forms of which the loose verdict accepts any: a sentence before and after the answer
    proper, and Markdown's asterisks, are forgiven. As IFEval (Zhou et al., 2023) defines them."""
    lines = text.split("\n")
    cuts = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return tuple(form for whole in (text, *cuts) for form in (whole, whole.replace("*", "")))


def judge(item: Item, text: str | None) -> Verdicts:
    """Strict and loose verdicts on an answer; one that is not there, or blank, follows nothing."""
    if text is None or not text.strip():
        nothing = (False,) * len(item.instructions)
        return Verdicts(nothing, nothing)
    forms = dict.fromkeys(variants(text))  # each once, in order
    strict: list[bool | None] = []
    loose: list[bool | None] = []
    missing: list[str] = []
    for asked in item.instructions:
        if asked.rule.library and find_spec(asked.rule.library) is None:
            strict.append(None)
            loose.append(None)
            missing.append(asked.rule.library)
            continue
        strict.append(asked.followed(text))
        loose.append(strict[-1] or any(asked.followed(form) for form in forms))
    return Verdicts(tuple(strict), tuple(loose), tuple(dict.fromkeys(missing)))


def whole(verdicts: Sequence[bool | None]) -> bool | None:
    """Of a prompt: every instruction followed. None where one could not be checked and the others were followed."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def outcome(items: Sequence[Item], answers: Mapping[str, Answer], notes: Sequence[str] = ()) -> Outcome:
    """Scores of the answers, by the key of their item; an item without one is counted as not followed."""
    nothing = Answer(None, {})
    judged = [(item, answers.get(item.key, nothing)) for item in items]
    verdicts = {item.key: judge(item, answer.text) for item, answer in judged}
    modes = {mode: {key: getattr(found, mode) for key, found in verdicts.items()} for mode in ("strict", "loose")}
    levels = {
        f"{mode}_{level}": score
        for mode, own in modes.items()
        for level, score in (("prompt", _prompt_score(own)), ("instruction", _instruction_score(items, own)))
    }
    return Outcome(
        records=[_record(item, answer, verdicts[item.key]) for item, answer in judged],
        score=levels["strict_prompt"],
        categories=_by_group(items, modes["strict"]),
        items=len(items),
        strict=_accuracy(levels, "strict"),
        loose=_accuracy(levels, "loose"),
        measures=_ends(levels),
        notes=[*notes, *_library_notes(verdicts.values())],
    )


def _record(item: Item, answer: Answer, verdicts: Verdicts) -> ItemRecord:
    followed = whole(verdicts.strict)
    status, reason = _status(answer, verdicts, followed)
    return ItemRecord(
        id=item.key,
        category=item.category,
        prompt=item.prompt,
        answer=answer.text or "",
        score=None if followed is None else float(followed),
        status=status,
        reason=reason,
        detail={"instructions": item.rules, "strict": list(verdicts.strict), "loose": list(verdicts.loose)},
        **answer.facts,
    )


def _status(answer: Answer, verdicts: Verdicts, followed: bool | None) -> tuple[ItemStatus, str]:
    if answer.text is None:
        return "failed", "there is no response to it"
    if not answer.text.strip():
        return "empty", "the response is empty"
    if followed is None:
        return "unscored", f"a rule needs {' and '.join(verdicts.missing)}, which is not installed"
    if is_refusal(answer.text):
        return "refused", "the model declined"
    return "ok", ""


def _prompt_score(verdicts: Mapping[str, Sequence[bool | None]]) -> Score | None:
    known = [float(found) for own in verdicts.values() if (found := whole(own)) is not None]
    return mean_score(known) if known else None


def _instruction_score(items: Sequence[Item], verdicts: Mapping[str, Sequence[bool | None]]) -> Score | None:
    return _mean(_each(items, verdicts))


def _by_group(items: Sequence[Item], verdicts: Mapping[str, Sequence[bool | None]]) -> dict[str, Score]:
    """Share of instructions followed, by the group of their rule."""
    each = _each(items, verdicts)
    groups = sorted({asked.rule.group for _, asked, _ in each})
    scores = {group: _mean([one for one in each if one[1].rule.group == group]) for group in groups}
    return {group: score for group, score in scores.items() if score is not None}


def _each(
    items: Sequence[Item], verdicts: Mapping[str, Sequence[bool | None]]
) -> list[tuple[str, Instruction, bool | None]]:
    return [
        (item.key, asked, verdict)
        for item in items
        for asked, verdict in zip(item.instructions, verdicts[item.key], strict=True)
    ]


def _mean(each: Sequence[tuple[str, Instruction, bool | None]]) -> Score | None:
    """Instructions of one prompt are drawn together: they were answered by one text."""
    known = [(key, float(verdict)) for key, _, verdict in each if verdict is not None]
    return mean_score([value for _, value in known], [key for key, _ in known]) if known else None


def _accuracy(levels: Mapping[str, Score | None], mode: str) -> Accuracy | None:
    prompt, instruction = levels[f"{mode}_prompt"], levels[f"{mode}_instruction"]
    return Accuracy(prompt=prompt.mean, instruction=instruction.mean) if prompt and instruction else None


def _ends(levels: Mapping[str, Score | None]) -> dict[str, float]:
    """The intervals of all four scores."""
    return {
        f"{name}_{end}": getattr(score, end) for name, score in levels.items() if score for end in ("low", "high")
    }  # fmt: skip


def _library_notes(verdicts: Iterable[Verdicts]) -> list[str]:
    missing = sorted({library for found in verdicts for library in found.missing})
    return [
        f"instructions that need {library} have no verdict, since it is not installed: pip install 'edgellm[evals]'"
        for library in missing
    ]
