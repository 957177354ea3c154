"""What a suite can be told; each suite takes what it knows and refuses the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.evals.judge import Judge

Mode = Literal["likelihood", "generation"]


@dataclass(frozen=True)
class SuiteOptions:
    """None and () stand for the suite's own default."""

    items: Path | None = None  # a file of items instead of the suite's own
    protocol: str | None = None
    judge: Judge | None = None
    judge_prompts: Path | None = None  # the published judge prompts instead of ours
    references: Path | None = None  # reference answers instead of ours
    repeats: int | None = None
    mode: Mode | None = None
    shots: int | None = None
    lengths: tuple[int, ...] = ()  # in tokens, of `long-ja`
    seed: int = 0
    quirks: bool = False  # count as the published program does, its faults included
    concurrency: int = 1
    cache: Path | None = None  # folder for judgments; None: nothing is kept beyond the run
    answer_file: Path | None = None  # where `mt-bench-ja` writes the answers, as FastChat has them
    judgment_file: Path | None = None  # and the judgments

    def refuse(self, suite: str, names: Sequence[str]) -> None:
        """Raise UsageError if one of the options `names` was given, which `suite` does not take.

        A suite that passed over an option in silence would give a score that its user takes for another one.
        """
        for option in fields(self):
            if option.name in names and getattr(self, option.name) != option.default:
                raise UsageError(f"--{option.name.replace('_', '-')} means nothing to the suite {suite}; leave it out")
