"""Files of prompts with their instructions, and of responses and verdicts, in M-IFEval's shapes.

Prompts: `{"key", "prompt", "instruction_id_list": […], "kwargs": [{…}, …]}`. Responses: `{"prompt", "response"}`, or
`{"key", "response"}`. Verdicts: responses with `follow_instruction_list` and `follow_all_instructions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput
from edgellm.evals.ifeval_ja.registry import instruction
from edgellm.evals.ifeval_ja.rules.rule import Instruction
from edgellm.store.json_lines import rows_of

OUR_PROMPTS = Path(__file__).resolve().parent / "data" / "prompts.jsonl"


@dataclass(frozen=True)
class Item:
    key: str
    prompt: str
    instructions: tuple[Instruction, ...]

    @property
    def rules(self) -> list[str]:
        return [asked.rule.id for asked in self.instructions]

    @property
    def category(self) -> str:
        """The rules' group, or `combined` where they are of several."""
        groups = {asked.rule.group for asked in self.instructions}
        return groups.pop() if len(groups) == 1 else "combined"


@dataclass(frozen=True)
class Given:
    """A response from a file, and the verdicts that stand beside it, one an instruction."""

    response: str | None
    verdicts: tuple[bool, ...] | None = None


def read_items(path: Path) -> list[Item]:
    """Prompts with their instructions; raises BadInput, with the line's number, for what cannot be asked or checked."""
    items: dict[str, Item] = {}
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        try:
            item = _item(row)
        except ValueError as error:
            raise BadInput(f"{where}: {error}; correct the line or leave it out") from error
        if item.key in items:
            raise BadInput(f"{where}: there is another prompt with the key {item.key}; give each a key of its own")
        items[item.key] = item
    if not items:
        raise BadInput(f"{path} holds no prompt; take a file in the form of M-IFEval's input data")
    return list(items.values())


def _item(row: dict[str, Any]) -> Item:
    key, prompt = row.get("key"), row.get("prompt")
    rules, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(key, int | str) or isinstance(key, bool):
        raise ValueError("a prompt needs a key")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("a prompt needs its text in `prompt`")
    if not isinstance(rules, list) or not rules:
        raise ValueError("a prompt needs a list `instruction_id_list`")
    if not isinstance(arguments, list) or len(arguments) != len(rules):
        raise ValueError("`kwargs` must have one object for each rule of `instruction_id_list`")
    if not all(isinstance(own, dict) for own in arguments):
        raise ValueError("each of `kwargs` must be an object")
    return Item(
        str(key), prompt, tuple(instruction(str(rule), own) for rule, own in zip(rules, arguments, strict=True))
    )


def read_given(path: Path, items: Sequence[Item]) -> tuple[dict[str, Given], int]:
    """(responses by the key of their item, rows that belong to no item).

    A row is matched by its prompt, to the letter, else by its key. Of several for one item the last one counts, as in
    the published program. Raises BadInput where nothing belongs to the items.
    """
    by_prompt = {item.prompt: item for item in items}
    by_key = {item.key: item for item in items}
    found: dict[str, Given] = {}
    strangers = 0
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        if "response" not in row or not isinstance(row["response"], str | None):
            raise BadInput(f"{where}: a row needs its answer in `response`; correct the line or leave it out")
        item = by_prompt.get(row.get("prompt", "")) or by_key.get(str(row.get("key")))
        if item is None:
            strangers += 1
            continue
        verdicts = row.get("follow_instruction_list")
        if verdicts is not None and not _fits(verdicts, row.get("instruction_id_list"), item):
            raise BadInput(
                f"{where}: the verdicts are of other instructions than the prompt's; take the items they are of"
            )
        found[item.key] = Given(row["response"], None if verdicts is None else tuple(verdicts))
    if not found:
        raise BadInput(f"no row of {path} answers one of the prompts; pass with --items the file that was asked")
    return found, strangers


def _fits(verdicts: Any, rules: Any, item: Item) -> bool:
    if not isinstance(verdicts, list) or not all(isinstance(verdict, bool) for verdict in verdicts):
        return False
    return len(verdicts) == len(item.instructions) and rules in (None, item.rules)
