"""Options of `eval run`: what is asked, and how it is counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgellm.cli.eval_asking import FILE, PARALLEL
from edgellm.cli.option_groups import option_group

if TYPE_CHECKING:
    from edgellm.evals.options import SuiteOptions


class Lengths(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """Tokens, or thousands of 1,024 of them: `4096,16k`."""

    name = "lengths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        found = []
        for part in str(value).lower().split(","):
            number, unit = (part.removesuffix("k"), 1024) if part.endswith("k") else (part, 1)
            if not number.strip().isdecimal() or int(number) < 1:
                self.fail(f"{part!r} is no length in tokens; write for example 4096,16k", param, ctx)
            found.append(int(number) * unit)
        return tuple(found)


@dataclass(frozen=True)
class Questions:
    """What is asked, and how it is counted."""

    suite: str
    protocol: str | None
    items: Path | None
    references: Path | None
    judge_prompts: Path | None
    limit: int | None
    repeats: int | None
    seed: int
    concurrency: int | None
    mode: Literal["likelihood", "generation"] | None
    shots: int | None
    lengths: tuple[int, ...] | None
    quirks: bool
    answer_file: Path | None
    judgment_file: Path | None

    def options(self, at_once: int) -> SuiteOptions:
        """`at_once`: requests, where --concurrency does not say."""
        from edgellm.evals.options import SuiteOptions

        return SuiteOptions(
            items=self.items, protocol=self.protocol, judge_prompts=self.judge_prompts, references=self.references,
            repeats=self.repeats, mode=self.mode, shots=self.shots, lengths=self.lengths or (), seed=self.seed,
            quirks=self.quirks, concurrency=self.concurrency or at_once, answer_file=self.answer_file,
            judgment_file=self.judgment_file,
        )  # fmt: skip


questions_options = option_group("questions", Questions, [
    click.option("--suite", required=True, metavar="NAME", help="What is asked; see below."),
    click.option(
        "--protocol", metavar="NAME", show_default="edgellm's own",
        help="How it is asked and counted; two scores can be compared only under one protocol.",
    ),
    click.option(
        "--items", type=click.Path(path_type=Path), metavar="FILE|DIR",
        help="Other questions than the suite's own: a file in its format, or for `choice` a folder of such.",
    ),
    click.option("--references", type=FILE, metavar="FILE", help="Other reference answers."),
    click.option("--judge-prompts", type=FILE, metavar="FILE", help="The judge prompts that a protocol publishes."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N items."),
    click.option(
        "--repeats", type=click.IntRange(1), metavar="N", show_default="the protocol's", help="Answers to each item."
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Seed of all draws."
    ),
    click.option(
        "--concurrency", type=click.IntRange(1), metavar="N", show_default=f"--parallel, or {PARALLEL}",
        help="Requests that wait for an answer at once.",
    ),
    click.option(
        "--mode", type=click.Choice(["likelihood", "generation"]),
        help="Of multiple choice: by how likely each choice is, or by what the model writes.",
    ),
    click.option("--shots", type=click.IntRange(0), metavar="N", help="Of multiple choice: solved examples before it."),
    click.option(
        "--lengths", type=Lengths(), metavar="N,N", help="Of `long-ja`: lengths of the texts in tokens, such as 4k,16k."
    ),
    click.option("--quirks", is_flag=True, help="Count as the published program does, with its known faults."),
    click.option(
        "--answer-file", type=FILE, metavar="FILE", help="Of `mt-bench-ja`: write the answers here, as FastChat does."
    ),
    click.option("--judgment-file", type=FILE, metavar="FILE", help="And the judgments, for `eval aggregate`."),
])  # fmt: skip
