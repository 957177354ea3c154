"""All rules by their id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgellm.evals.ifeval_ja.rules import (
    formats,
    keywords,
    lengths,
    letters,
    own_layout,
    own_letters,
    own_register,
    wholes,
)
from edgellm.evals.ifeval_ja.rules.rule import Instruction, Rule

PUBLISHED: Mapping[str, Rule] = {
    rule.id: rule for module in (formats, keywords, lengths, letters, wholes) for rule in module.RULES
}
OURS: Mapping[str, Rule] = {
    rule.id: rule for module in (own_layout, own_letters, own_register) for rule in module.RULES
}
RULES: Mapping[str, Rule] = {**PUBLISHED, **OURS}


def instruction(rule_id: str, arguments: Mapping[str, Any]) -> Instruction:
    """The rule with its arguments. An argument that is null is as if it were not there.

    Raises ValueError, with a sentence, for a rule that there is not and for arguments that it cannot work with. (The
    published program draws an argument at random where one is missing; a verdict must not depend on that.)
    """
    rule = RULES.get(rule_id)
    if rule is None:
        raise ValueError(f"there is no rule {rule_id}")
    given = {name: value for name, value in arguments.items() if value is not None}
    readers = {**rule.arguments, **rule.optional}
    if unknown := sorted(given.keys() - readers.keys()):
        raise ValueError(f"{rule_id} takes no {unknown[0]}")
    if missing := [name for name in rule.arguments if name not in given]:
        raise ValueError(f"{rule_id} needs {missing[0]}")
    read = {}
    for name, value in given.items():
        try:
            read[name] = readers[name](value)
        except ValueError as error:
            raise ValueError(f"{name} of {rule_id} {error}") from error
    return Instruction(rule, read)
