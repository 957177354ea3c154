"""The suite `ifeval-ja`: verifiable instructions in Japanese, asked and checked without a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgellm.errors import UsageError
from edgellm.evals.ifeval_ja import tongues, words
from edgellm.evals.ifeval_ja.files import OUR_PROMPTS, Item, read_given, read_items
from edgellm.evals.ifeval_ja.given import given_outcome
from edgellm.evals.ifeval_ja.scoring import Answer, outcome
from edgellm.evals.model import Model
from edgellm.evals.options import SuiteOptions
from edgellm.evals.run import Job, Outcome, Run
from edgellm.evals.scoring import strip_thinking
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.store import digest

NAME = "ifeval-ja"
PROTOCOL = "m-ifeval"  # how verdicts are counted; the prompts are ours unless a file is given
RULES_VERSION = 1  # goes up when a rule gives another verdict on some text
SAMPLING = SamplingOptions(temperature=0.0, top_p=1.0)
MAX_TOKENS = 2048
REFUSED_OPTIONS = "judge", "judge_prompts", "references", "repeats", "mode", "shots", "lengths", "quirks"


class IfevalJa:
    """Each prompt is asked once, greedily. The score is the share of prompts whose every instruction was followed in
    the answer as it is (strict, prompt level); categories are shares of instructions by their rule's group."""

    name = NAME
    protocol = PROTOCOL

    def __init__(self, options: SuiteOptions) -> None:
        """Raises UsageError for options that mean nothing here, BadInput for a file of items that cannot be read."""
        options.refuse(NAME, REFUSED_OPTIONS)
        if options.protocol not in (None, PROTOCOL):
            raise UsageError(f"{NAME} has the protocol {PROTOCOL} alone, not {options.protocol}; leave --protocol out")
        self.items = read_items(options.items or OUR_PROMPTS)
        self.ours = options.items is None

    def digests(self) -> tuple[str, str]:
        return items_digest(self.items), protocol_digest()

    def run(self, run: Run) -> Outcome:
        items = run.limited(self.items)
        found = run.each({f"answer {item.key}": asking(run.model, item) for item in items}, "answers")
        answers = {item.key: _answer(found[f"answer {item.key}"]) for item in items}
        cut = [key for key, answer in answers.items() if found[f"answer {key}"]["finish_reason"] == "length"]
        notes = ["prompts of ours, not M-IFEval's: the score compares with no published one"] if self.ours else []
        if cut:
            answers_were = "1 answer was" if len(cut) == 1 else f"{len(cut)} answers were"
            notes.append(f"{answers_were} cut off at {MAX_TOKENS} tokens")
        return outcome(items, answers, notes)


def asking(model: Model, item: Item) -> Job:
    def ask() -> dict[str, Any]:
        return asdict(model.reply([Message("user", item.prompt)], SAMPLING, MAX_TOKENS))

    return ask


def _answer(reply: dict[str, Any]) -> Answer:
    text, taken_off = strip_thinking(reply["content"])
    facts = {
        "prompt_tokens": reply["prompt_tokens"],
        "reasoning_characters": len(reply["reasoning"]) + taken_off,
        "seconds": reply["seconds"],
    }
    return Answer(text, facts)


def score_file(answers: Path, items: Path | None) -> tuple[Outcome, str, str]:
    """(scores of responses given in a file, digest of the items, digest of the rules).

    `items` as M-IFEval's input data; None: our own prompts. Raises BadInput for lines that cannot be read.
    """
    asked = read_items(items or OUR_PROMPTS)
    given, strangers = read_given(answers, asked)
    return given_outcome(asked, given, strangers), items_digest(asked), protocol_digest(asked=False)


def items_digest(items: Sequence[Item]) -> str:
    return digest.of_value(
        [[item.key, item.prompt, [[a.rule.id, dict(a.arguments)] for a in item.instructions]] for item in items]
    )


def protocol_digest(*, asked: bool = True) -> str:
    """Of all that decides the score besides the prompts; without the sampling where somebody else asked."""
    settings: dict[str, Any] = {
        "rules": RULES_VERSION,
        "libraries": {library: installed(library) for library in (words.LIBRARY, tongues.LIBRARY)},
        "language_seed": tongues.SEED,
    }
    if asked:
        settings |= {"sampling": asdict(SAMPLING), "max_tokens": MAX_TOKENS}
    return digest.of_value(settings)


def installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
